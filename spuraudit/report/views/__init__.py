"""One module per section of the page: from the record to what the section's template prints. No markup but charts."""
