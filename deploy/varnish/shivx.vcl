# Varnish 6.0 or newer (with varnish-modules, for xkey) in front of ShivX. docs/cdn.md says how to set it up.
vcl 4.1;

import std;
import xkey;

backend shivx {
    .host = "127.0.0.1";
    .port = "8000";
    # What a fetch may take in all bounds how late an answer that was begun before an invalidation can come in.
    # ShivX purges once more after that: these three numbers must not be raised without its LONGEST_FETCH.
    .connect_timeout = 1s;
    .first_byte_timeout = 10s;
    .between_bytes_timeout = 1s;
}

# Who may purge: the hosts that ShivX runs on.
acl purgers {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    if (req.method == "PURGE") {
        # Both: the address, and the token, the one line of a file that only Varnish can read.
        if (client.ip !~ purgers ||
            req.http.Purge-Token == "" ||
            req.http.Purge-Token != regsub(std.fileread("/etc/varnish/shivx-purge-token"), "\s+$", "")) {
            return (synth(403, "Forbidden"));
        }
        if (!req.http.Xkey-Purge) {
            return (synth(400, "Xkey-Purge is missing"));
        }
        return (synth(200, "Purged " + xkey.purge(req.http.Xkey-Purge)));
    }

    # What a client says of itself must reach nobody: SHIVX_TRUSTED_PROXIES=1 believes this proxy.
    unset req.http.Forwarded;
    unset req.http.X-Forwarded-Host;
    unset req.http.X-Forwarded-Port;
    unset req.http.X-Forwarded-Prefix;
    set req.http.X-Forwarded-Proto = "http";
    set req.http.X-Forwarded-For = client.ip;

    if (req.method != "GET" && req.method != "HEAD") {
        return (pass);
    }
    # Who says who he is gets his own answer, and his own limit.
    if (req.http.Authorization || req.http.X-API-Key || req.http.Cookie) {
        return (pass);
    }
    # An answer to this client alone, be it stale or not: what a client wants fresher, it asks of ShivX.
    if (req.http.Cache-Control ~ "(?i)no-cache|no-store|max-age=0|stale-if-error") {
        return (pass);
    }
    # A body with a GET could change the answer without being part of what it is stored under.
    unset req.http.Content-Length;
    unset req.http.Transfer-Encoding;
    return (hash);
}

sub vcl_backend_response {
    # Only what can be purged is kept.
    if (bereq.uncacheable ||
        !beresp.http.Surrogate-Key ||
        !beresp.http.Surrogate-Control ||
        beresp.http.Surrogate-Control ~ "no-store" ||
        beresp.http.Set-Cookie) {
        set beresp.uncacheable = true;
        set beresp.ttl = 1s;
        set beresp.grace = 0s;
        return (deliver);
    }
    set beresp.http.xkey = beresp.http.Surrogate-Key;

    set beresp.ttl = std.duration(
        regsub(beresp.http.Surrogate-Control, "^.*\bmax-age=(\d+).*$", "\1") + "s", 0s);
    set beresp.ttl -= beresp.age;
    set beresp.keep = 0s;
    # For so long past its ttl it is served while it is fetched anew. Purged, it is served no more.
    set beresp.grace = 0s;
    if (beresp.http.Surrogate-Control ~ "\bstale-while-revalidate=\d+") {
        set beresp.grace = std.duration(
            regsub(beresp.http.Surrogate-Control, "^.*\bstale-while-revalidate=(\d+).*$", "\1") + "s", 0s);
    }

    # These belong to the one whose request brought the answer in.
    unset beresp.http.X-RateLimit-Limit;
    unset beresp.http.X-RateLimit-Remaining;
    unset beresp.http.X-RateLimit-Reset;
    unset beresp.http.RateLimit-Policy;
    unset beresp.http.RateLimit;
    unset beresp.http.Retry-After;
    unset beresp.http.X-Request-ID;
    unset beresp.http.X-Cache;
    return (deliver);
}

sub vcl_backend_error {
    # Varnish's own page, not to be kept for anybody.
    set beresp.ttl = 0s;
    set beresp.grace = 0s;
    set beresp.uncacheable = true;
}

sub vcl_deliver {
    # Between ShivX and this proxy.
    unset resp.http.Surrogate-Key;
    unset resp.http.Surrogate-Control;
    unset resp.http.CDN-Cache-Control;
    unset resp.http.xkey;
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
        set resp.http.Cache-Status = "varnish; hit";
    } else if (!resp.http.X-Cache) {
        set resp.http.X-Cache = "MISS";
    }
    return (deliver);
}
