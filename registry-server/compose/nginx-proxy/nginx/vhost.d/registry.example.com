client_max_body_size 100m;
auth_basic "Restricted";
auth_basic_user_file /etc/nginx/passwords/registry.example.com;
add_header Docker-Distribution-API-Version registry/2.0 always;
