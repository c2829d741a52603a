"""What runs on the box. Folders are rooms; imports only point down (ARCHITECTURE.md, "Floors")."""
