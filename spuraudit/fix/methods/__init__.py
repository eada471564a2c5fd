"""Methods of fixing, one file each; `catalogue` lists them."""
