"""Line icons, 24 units square, drawn for these pages."""

ICONS = {
    "catalogue": '<rect x="3" y="3" width="7.5" height="7.5" rx="1.5"/><rect x="13.5" y="3" width="7.5" height="7.5" rx="1.5"/>'
    '<rect x="3" y="13.5" width="7.5" height="7.5" rx="1.5"/><rect x="13.5" y="13.5" width="7.5" height="7.5" rx="1.5"/>',
    "downloads": '<path d="M12 3.5v11.5M7 10.5l5 5 5-5M4 20h16"/>',
    "history": '<path d="M3.5 12a8.5 8.5 0 1 0 2.6-6.1L3.5 8.4M3.5 3.9v4.5H8M12 7.5V12l3.2 2"/>',
    "cart": '<path d="M2.5 3.5h2.6l2.4 11.6h10.6l2.2-8.1H6"/>'
    '<circle cx="9" cy="19.5" r="1.4"/><circle cx="16.8" cy="19.5" r="1.4"/>',
    "account": '<circle cx="12" cy="8" r="4"/><path d="M4.5 20.5c.9-4 3.9-5.5 7.5-5.5s6.6 1.5 7.5 5.5"/>',
    "search": '<circle cx="10.5" cy="10.5" r="6.5"/><path d="M15.3 15.3L20.5 20.5"/>',
    "copy": '<rect x="8.5" y="8.5" width="12" height="12" rx="2"/>'
    '<path d="M5.5 15.5H5a1.5 1.5 0 0 1-1.5-1.5V5A1.5 1.5 0 0 1 5 3.5h9A1.5 1.5 0 0 1 15.5 5v.5"/>',
    "check": '<path d="M4.5 12.5l5 5 10-11"/>',
    "device": '<rect x="7" y="2.5" width="10" height="19" rx="2"/><path d="M11 18.5h2"/>',
    "staff": '<path d="M12 3l7.5 3v5.5c0 4.5-3 7.8-7.5 9.5-4.5-1.7-7.5-5-7.5-9.5V6z"/>',
    "remove": '<path d="M6 6l12 12M18 6L6 18"/>',
    "clock": '<circle cx="12" cy="12" r="8.5"/><path d="M12 7v5l3.5 2"/>',
    "receipt": '<path d="M6 3h12v18l-3-2-3 2-3-2-3 2zM9 8h6M9 12h6"/>',
    "gate": '<path d="M4 21V10a8 8 0 0 1 16 0v11M2.5 21h19M12 8v8M9 13l3 3 3-3"/>',
}
