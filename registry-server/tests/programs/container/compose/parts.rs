//! Stand-ins, under their names, for the other images of the set-ups: nginx and Apache from Debian, and scripts on
//! nginx in place of nginx-proxy and the web UI.

use std::path::Path;

use super::super::{Context, Yard, program};

pub(super) fn make(yard: &Yard<'_>) {
    make_nginx(yard);
    make_apache(yard);

    let proxy = Context::new(yard.bench, "nginx-proxy");
    proxy.write_script("/bin/proxy", PROXY);
    proxy.write("/etc/nginx/nginx.conf", PROXY_CONFIGURATION);
    proxy.build(
        &yard.docker,
        "jwilder/nginx-proxy",
        "FROM nginx:alpine\nCOPY . /\nSTOPSIGNAL SIGKILL\nCMD [\"proxy\"]\n",
    );

    // What it makes is a certificate; the test writes that in its place.
    let companion = Context::new(yard.bench, "companion");
    companion.build(
        &yard.docker,
        "jrcs/letsencrypt-nginx-proxy-companion",
        "FROM alpine\nSTOPSIGNAL SIGKILL\nCMD [\"tail\", \"-f\", \"/dev/null\"]\n",
    );

    let ui = Context::new(yard.bench, "ui");
    ui.write("/usr/share/nginx/html/index.html", super::set_ups::UI);
    ui.write(
        "/etc/nginx/conf.d/default.conf",
        "server { listen 80; root /usr/share/nginx/html; }\n",
    );
    ui.build(
        &yard.docker,
        "joxit/docker-registry-ui:static",
        "FROM nginx:alpine\nCOPY . /\n",
    );
}

fn make_nginx(yard: &Yard<'_>) {
    let nginx = Context::new(yard.bench, "nginx");
    nginx.copy(&program("nginx"), "/usr/sbin/nginx");
    nginx.copy_libraries(&program("nginx"));
    nginx.copy(Path::new("/etc/nginx/mime.types"), "/etc/nginx/mime.types");
    nginx.write("/etc/nginx/nginx.conf", NGINX_CONFIGURATION);
    nginx.write("/etc/nginx/conf.d/.keep", "");
    nginx.build(
        &yard.docker,
        "nginx:alpine",
        "FROM alpine\nCOPY . /\nRUN mkdir -p /run /var/log/nginx /var/lib/nginx && ln -s /dev/stdout /var/log/nginx/access.log\nEXPOSE 80\n\
         CMD [\"nginx\", \"-p\", \"/etc/nginx\", \"-g\", \"daemon off;\"]\n",
    );
}

fn make_apache(yard: &Yard<'_>) {
    let apache = Context::new(yard.bench, "apache");
    apache.copy(&program("apache2"), "/usr/local/apache2/bin/httpd");
    apache.copy_libraries(&program("apache2"));
    for module in [
        "access_compat",
        "auth_basic",
        "authn_core",
        "authn_file",
        "authz_core",
        "authz_host",
        "authz_user",
        "mpm_event",
        "proxy",
        "proxy_http",
        "ssl",
    ] {
        let file = format!("/usr/lib/apache2/modules/mod_{module}.so");
        apache.copy(
            Path::new(&file),
            &format!("/usr/local/apache2/modules/mod_{module}.so"),
        );
        apache.copy_libraries(Path::new(&file));
    }
    apache.write(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/:/bin/false\n",
    );
    apache.write("/etc/group", "root:x:0:\nwww-data:x:33:\n");
    apache.build(
        &yard.docker,
        "httpd:2.4",
        "FROM alpine\nCOPY . /\nRUN mkdir -p /usr/local/apache2/logs\nCMD [\"/usr/local/apache2/bin/httpd\", \
         \"-DFOREGROUND\", \"-f\", \"/usr/local/apache2/conf/httpd.conf\"]\n",
    );
}

const NGINX_CONFIGURATION: &str = "user root;
worker_processes 1;
error_log stderr;
events { worker_connections 256; }
http {
    include mime.types;
    access_log off;
    include /etc/nginx/conf.d/*.conf;
}
";

/// nginx settings that every site of nginx-proxy inherits, and a location through which the script queries the engine.
const PROXY_CONFIGURATION: &str = "user root;
worker_processes 1;
error_log stderr;
events { worker_connections 256; }
http {
    access_log off;
    server { listen 127.0.0.1:2375; location / { proxy_pass http://unix:/tmp/docker.sock:; } }
    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_set_header Host $http_host;
    proxy_set_header Connection close;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header Proxy \"\";
    include /etc/nginx/conf.d/*.conf;
}
";

/// Makes a site for each container with a `VIRTUAL_HOST`, as nginx-proxy does.
const PROXY: &str = r##"#!/bin/sh
ask() { wget -q -O - "http://127.0.0.1:2375$1" | tr ',[]{}' '\n'; }
variable() { echo "$container" | sed -n "s/^\"$1=\(.*\)\"$/\1/p"; }

site() {
    host=$(variable VIRTUAL_HOST)
    address=$(echo "$container" | sed -n 's/^"IPAddress":"\([0-9.]\{1,\}\)"$/\1/p' | tail -n 1)
    test -n "$host" -a -n "$address" || return 0
    # The only port that the image exposes, or else 80.
    port=$(echo "$container" | sed -n 's/^"ExposedPorts"://p;s/^"\([0-9]*\)\/tcp":.*/\1/p' | sort -u | grep .)
    test "$(echo "$port" | wc -l)" = 1 || port=80
    test -z "$(variable VIRTUAL_PORT)" || port=$(variable VIRTUAL_PORT)
    protocol=$(variable VIRTUAL_PROTO)
    files=/etc/nginx/certs/$host
    vhost=/etc/nginx/vhost.d/$host

    echo "upstream $host { server $address:$port; }"
    echo "server { server_name $host;"
    if test -e "$files.crt" -a -e "$files.key"; then
        echo "listen 443 ssl http2; ssl_certificate $files.crt; ssl_certificate_key $files.key;"
        # Another certificate is another configuration.
        echo "# $(cat "$files.crt" "$files.key" | md5sum)"
    else
        echo "listen 80;"
    fi
    test ! -e "$vhost" || echo "include $vhost;"
    echo "location / { proxy_pass ${protocol:-http}://$host;"
    test ! -e "${vhost}_location" || echo "include ${vhost}_location;"
    echo "} }"
    test ! -e "$files.crt" || echo "server { server_name $host; listen 80; return 301 https://\$host\$request_uri; }"
}

nginx
while true; do
    for id in $(ask /containers/json | sed -n 's/^"Id":"\([0-9a-f]\{64\}\)"$/\1/p'); do
        container=$(ask "/containers/$id/json")
        site
    done >/tmp/sites
    if ! cmp -s /tmp/sites /etc/nginx/conf.d/sites.conf; then
        cp /tmp/sites /etc/nginx/conf.d/sites.conf
        nginx -t -q && nginx -s reload
    fi
    sleep 1
done
"##;
