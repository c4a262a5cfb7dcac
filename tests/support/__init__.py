"""What the tests share: real servers, real clients, files to deliver, and waiting without sleeping."""
