-- must never be served
CREATE TABLE secret (password TEXT);
