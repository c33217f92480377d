client_max_body_size 0;
chunked_transfer_encoding on;
