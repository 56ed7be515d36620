//! What the end-to-end tests share: real containers, own state directories, clean ends.
