"""The run record: plain data that every later step reads. No torch, no drawing."""
