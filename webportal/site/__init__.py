"""What all pages share: layout, formats, icons, paging."""
