"""The contract of the HTTP interface, example by example, through every node.

Each section is a table of what is typed and what comes back: see curl.py for
how to read a row. A section starts without keys. Where an answer depends on
who is asked, there is a table for the leader and one for the others."""
import json
import os
import sqlite3
import subprocess

import pytest

from cluster import BINARY, Cluster
from curl import Table, parse, run

JSON = "Content-Type: application/json"
PROBLEM = "Content-Type: application/problem+json"
BLOB = bytes(range(256))

# ---- 0: what goes for every request ----

GROUND = [
    # Keys: all of the path behind /key/, percent-decoded once.
    ("""curl localhost:11000/key -d '{"a":"1","a/":"2","a//b":"3","a b":"4","a+b":"5"}'""",
     "200 | Craftd-Index: i1", ""),
    ("curl localhost:11000/key/a", f"200 | {JSON}", '{"a":"1"}'),
    ("curl localhost:11000/key/a/", "200", '{"a/":"2"}'),
    ("curl localhost:11000/key/a//b", "200", '{"a//b":"3"}'),
    ("curl localhost:11000/key//a", "404", '{"/a":""}'),
    ("curl localhost:11000/key/a%2F%2fb", "200", '{"a//b":"3"}'),
    ("curl localhost:11000/key/a%20b", "200", '{"a b":"4"}'),
    ("curl localhost:11000/key/a+b", "200", '{"a+b":"5"}'),
    ("curl localhost:11000/key/a%252F", "404", '{"a%2F":""}'),
    ("curl localhost:11000/key/%C3%BC", "404", '{"\u00fc":""}'),
    ("curl localhost:11000/key/a%00", f"400 | {PROBLEM}", '{..."code":"bad-key"...}\n'),
    ("curl localhost:11000/key/%ff", "400", '{..."code":"bad-key"...}\n'),
    ("curl localhost:11000/key/%4", "400", '{..."code":"bad-key"...}\n'),
    ("curl localhost:11000/key/", "400", '{..."code":"bad-key"...}\n'),
    # Headers of every answer, errors too.
    ("curl localhost:11000/key/a",
     "200 | Craftd-Index: ... | Craftd-Leader: $leader | Craftd-Node: $me"
     " | Craftd-Level: linearizable | ETag: \"i1\"", None),
    ("curl localhost:11000/nowhere",
     "404 | Craftd-Index: ... | Craftd-Leader: $leader | Craftd-Node: $me", None),
    # HTTP itself.
    ("curl -0 localhost:11000/key/a", "200 | Connection: close", '{"a":"1"}'),
    ("curl -0 -H 'Connection: keep-alive' localhost:11000/key/a",
     "200 | Connection: keep-alive", '{"a":"1"}'),
    ("curl -w '%{num_connects}' localhost:11000/key/a localhost:11000/key/a",
     "200 | !Connection", '{"a":"1"}1{"a":"1"}0'),
    ("curl -I localhost:11000/key/a",
     f"200 | {JSON} | Content-Length: 9 | ETag: \"i1\" | Craftd-Level: linearizable", ""),
    ("curl -I localhost:11000/key/nope", f"404 | {JSON} | Content-Length: 11", ""),
    ("curl -I localhost:11000/status", f"200 | {JSON}", ""),
    ("curl -X OPTIONS localhost:11000/key/a",
     "204 | Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS | !Content-Type", ""),
    ("curl -X OPTIONS localhost:11000/status", "204 | Allow: GET, HEAD, OPTIONS", ""),
    ("curl -X OPTIONS localhost:11000/nowhere", "404", None),
    ("curl -X OPTIONS --request-target '*' localhost:11000",
     "204 | Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS", ""),
    ("curl -X OPTIONS --request-target http://else:80 localhost:11000",
     "204 | Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS", ""),
    # As a proxy is asked.
    ("curl --proxy http://localhost:11000 http://localhost:11000/key/a", "200", '{"a":"1"}'),
    ("curl --request-target http://else:80/key/a?raw localhost:11000", "200", "1"),
    ("curl --request-target http://else/key/a localhost:11000", "200", '{"a":"1"}'),
    ("curl --request-target http://else localhost:11000", "404", None),
    ("curl --request-target https://else/key/a localhost:11000", "400", None),
    ("curl --request-target http://bob@else/key/a localhost:11000", "400", None),
    ("curl --request-target key/a localhost:11000", "400", None),
    # Bodies.
    ("""curl -H 'Transfer-Encoding: chunked' localhost:11000/key -d '{"c":"1"}'""", "200", ""),
    ("curl localhost:11000/key/c", "200", '{"c":"1"}'),
    ("curl -H 'Content-Type: application-type/json' localhost:11000/key -d '{}'", "200", ""),
    ("curl -H 'Expect: 100-continue' -T big localhost:11000/key/big", "201", ""),
    ("curl -H 'Expect: 100-continue' -T big localhost:11000/key/big", "204", ""),
    # Durations, booleans, and what is not known.
    ("curl localhost:11000/key/a?timeout=250ms", "200", None),
    ("curl localhost:11000/key/a?timeout=30s", "200", None),
    ("curl localhost:11000/key/a?timeout=5m", "200", None),
    ("curl localhost:11000/key/a?timeout=1h", "200", None),
    ("curl localhost:11000/key/a?timeout=1d", "200", None),
    ("curl localhost:11000/key/a?timeout=3", "200", None),
    ("curl localhost:11000/key/a?timeout=", "400", '{..."code":"bad-param"...}\n'),
    ("curl localhost:11000/key/a?timeout=3x", "400", '{..."code":"bad-param"...}\n'),
    ("curl localhost:11000/key/a?timeout=-1s", "400", '{..."code":"bad-param"...}\n'),
    ("curl 'localhost:11000/key/a?level=none&freshness=1.5s'", "400", None),
    ("curl localhost:11000/key/a?raw", "200", "1"),
    ("curl localhost:11000/key/a?raw=1", "200", "1"),
    ("curl localhost:11000/key/a?raw=true", "200", "1"),
    ("curl localhost:11000/key/a?raw=", "200", "1"),
    ("curl localhost:11000/key/a?raw=0", "200", '{"a":"1"}'),
    ("curl localhost:11000/key/a?raw=false", "200", '{"a":"1"}'),
    ("curl localhost:11000/key/a?meta=false", "200", '{"a":"1"}'),
    ("curl localhost:11000/key/a?redirect=0", "200", '{"a":"1"}'),
    ("curl localhost:11000/key/a?stale=false", "200 | Craftd-Level: linearizable", None),
    ("curl 'localhost:11000/keys?prefix=a/&keys=0&reverse=false&count=0'", "200",
     '{"items":[{"key":"a/","value":"2",...},{"key":"a//b",...}],"more":false,"index":...}\n'),
    ("curl localhost:11000/key/a?unheard=of", "400", '{..."code":"bad-param"...}\n'),
    ("""curl localhost:11000/txn -d '{"then":[],"unless":[]}'""", "400", None),
    ("""curl localhost:11000/txn -d '{"then":[{"put":"a","valeu":"1"}]}'""", "400", None),
    ("""curl localhost:11000/join -d '{"id":"x","addr":"h:1","vote":true}'""", "400", None),
    # For people.
    ("curl localhost:11000/key/a?pretty", "200", '{\n  "a": "1"\n}\n'),
    ("curl localhost:11000/key/a?pretty localhost:11000/key/a", "200",
     '{\n  "a": "1"\n}\n{"a":"1"}'),
    ("curl localhost:11000/key/a?pretty=false", "200", '{"a":"1"}'),
    ("curl localhost:11000/key/nope?pretty", "404", '{\n  "nope": ""\n}\n'),
    ("curl 'localhost:11000/key/a?raw&pretty'", "200", "1"),
    ("curl 'localhost:11000/key/a?meta&pretty'", "200",
     '{\n  "key": "a",\n  "value": "1",\n  "index": i1,\n  "create_index": i1,\n'
     '  "version": 1\n}\n'),
    ("curl 'localhost:11000/keys?prefix=a/&keys&limit=1&pretty'", "200",
     '{\n  "items": [\n    {\n      "key": "a/"\n    }\n  ],\n  "more": true,\n'
     '  "after": "a/",\n  "index": ...\n}\n'),
    ("curl 'localhost:11000/keys?prefix=none&pretty'", "200",
     '{\n  "items": [],\n  "more": false,\n  "index": ...\n}\n'),
    ("curl 'localhost:11000/keys?prefix=a/&keys&limit=1&format=ndjson&pretty'", "200",
     '{"key":"a/"}\n'),
    ("curl localhost:11000/status?pretty", "200", '{\n  "me": {\n    "id": "$me",\n...}\n'),
    ("curl localhost:11000/health?pretty", "200", '{\n  "health": "true"\n}\n'),
    ("curl localhost:11000/nowhere?pretty", f"404 | {PROBLEM}",
     '{\n  "type": "urn:craftd:not-found",\n  "title": "not found",\n  "status": 404,\n...}\n'),
    ("curl localhost:11000/api/v1/nowhere?pretty", f"404 | {JSON}", '{\n  "type":...}\n'),
]

# ---- 2: keys ----

KEYS = [
    ("""curl -X POST localhost:11000/key -d '{"user1":"batman"}'""",
     "200 | Craftd-Index: i42 | !Content-Type", ""),
    ("curl localhost:11000/key/user1",
     f'200 | {JSON} | ETag: "i42" | Craftd-Create-Index: i42', '{"user1":"batman"}'),
    ("curl -i localhost:11000/key/nope", f"404 | {JSON} | !ETag", '{"nope":""}'),
    ("curl -X DELETE localhost:11000/key/user1", "200 | Craftd-Index: i43 | Craftd-Deleted: 1",
     ""),
    ("curl -X DELETE localhost:11000/key/user1", "200 | Craftd-Deleted: 0", ""),
    # Many pairs are one write; nothing is one, too.
    ("""curl localhost:11000/key -d '{"p":"1","q":"2"}'""", "200 | Craftd-Index: i50", ""),
    ("curl localhost:11000/key/p?meta", "200", '{..."index":i50,"create_index":i50,...}\n'),
    ("curl localhost:11000/key/q?meta", "200", '{..."index":i50,"create_index":i50,...}\n'),
    ("curl localhost:11000/key -d '{}'", "200 | Craftd-Index: i50", ""),
    ("""curl localhost:11000/key -d '{"p":1}'""", f"400 | {PROBLEM}", None),
    ("""curl localhost:11000/key -d '["p"]'""", "400", None),
    ("""curl localhost:11000/key -d '{"p":"2"} x'""", "400", None),
    ("curl localhost:11000/key/p", "200", '{"p":"1"}'),
    # Bytes as they are.
    ("curl -T cfg.bin localhost:11000/key/svc/a",
     '201 | ETag: "i60" | Craftd-Index: i60 | Location: /key/svc/a', ""),
    ("curl localhost:11000/key/svc/a?raw",
     '200 | Content-Type: application/octet-stream | X-Content-Type-Options: nosniff'
     ' | Content-Security-Policy: sandbox | ETag: "i60" | Craftd-Create-Index: i60'
     ' | Content-Length: 256', BLOB),
    ("curl -H 'Accept: application/octet-stream' localhost:11000/key/svc/a",
     "200 | Content-Type: application/octet-stream", BLOB),
    ("curl -I localhost:11000/key/svc/a?raw",
     '200 | Content-Length: 256 | ETag: "i60" | Craftd-Create-Index: i60', ""),
    ("curl localhost:11000/key/svc/a", f"406 | {PROBLEM}", '{..."code":"not-text"...}\n'),
    ("curl localhost:11000/key/svc/a?meta", f"200 | {JSON}",
     '{"key":"svc/a","value_base64":"AAEC...","index":i60,"create_index":i60,"version":1}\n'),
    ("curl -T cfg.bin localhost:11000/key/svc/a", '204 | ETag: "i61" | !Location', ""),
    ("curl localhost:11000/key/svc/a?meta", "200",
     '{..."index":i61,"create_index":i60,"version":2}\n'),
    ("curl -X PUT --data-binary 1 localhost:11000/key/a%20b%2Fc",
     "201 | Location: /key/a%20b/c", ""),
    # Create only; compare and set.
    ("curl -X PUT --data-binary x -H 'If-None-Match: *' localhost:11000/key/lock",
     '201 | ETag: "i70"', ""),
    ("curl -X PUT --data-binary x -H 'If-None-Match: *' localhost:11000/key/lock",
     f'412 | {PROBLEM} | ETag: "i70"', '{..."code":"precondition-failed"..."clause":0...}\n'),
    ("""curl -X PUT --data-binary y -H 'If-Match: "i70"' localhost:11000/key/lock""",
     '204 | ETag: "i71"', ""),
    ("""curl -X PUT --data-binary y -H 'If-Match: "i70"' localhost:11000/key/lock""",
     '412 | ETag: "i71"', None),
    ("curl -X PUT --data-binary z localhost:11000/key/lock?cas=i71", '204 | ETag: "i72"', ""),
    ("curl -X PUT --data-binary z localhost:11000/key/lock?cas=i71", '412 | ETag: "i72"', None),
    ("curl -X PUT --data-binary z localhost:11000/key/lock?cas=0", '412 | ETag: "i72"', None),
    ("curl -X PUT --data-binary z localhost:11000/key/lock2?cas=0", "201", ""),
    ("""curl -X DELETE -H 'If-Match: "i71"' localhost:11000/key/lock""",
     '412 | ETag: "i72"', None),
    ("""curl -X DELETE -H 'If-Match: "i72"' localhost:11000/key/lock""",
     "200 | Craftd-Deleted: 1", ""),
    ("""curl -X DELETE -H 'If-Match: "i72"' localhost:11000/key/lock""", "412 | !ETag", None),
    # An ETag does not come back.
    ("curl -X PUT --data-binary x localhost:11000/key/lock", '201 | ETag: "i80"', ""),
    ("""curl -X PUT --data-binary y -H 'If-Match: "i70"' localhost:11000/key/lock""",
     '412 | ETag: "i80"', None),
    # Reading only what is new.
    ("""curl -H 'If-None-Match: "i80"' localhost:11000/key/lock""",
     '304 | ETag: "i80" | !Content-Type', ""),
    ("""curl -H 'If-None-Match: "i70"' localhost:11000/key/lock""", '200 | ETag: "i80"',
     '{"lock":"x"}'),
    ("curl --etag-save e --etag-compare e localhost:11000/key/lock", "200", '{"lock":"x"}'),
    ("curl --etag-save e --etag-compare e localhost:11000/key/lock", "304", ""),
    ("curl -X PUT --data-binary y localhost:11000/key/lock", '204 | ETag: "i90"', ""),
    ("curl --etag-save e --etag-compare e localhost:11000/key/lock", '200 | ETag: "i90"',
     '{"lock":"y"}'),
    # A promise that would not be kept.
    ("curl -X PUT --data-binary y 'localhost:11000/key/lock?expire=30s'", "400", None),
    # The trap: -d removes line feeds.
    ("curl -X PUT -d @two.lines localhost:11000/key/lines", "201", ""),
    ("curl localhost:11000/key/lines", "200", '{"lines":"onetwo"}'),
    ("curl -X PUT --data-binary @two.lines localhost:11000/key/lines", "204", ""),
    ("curl localhost:11000/key/lines?raw", "200", "one\ntwo\n"),
]

# ---- 3: lists ----

LISTS = [
    ("""curl localhost:11000/key -d '{"svc/a":"1"}'""", "200 | Craftd-Index: i44", ""),
    ("""curl localhost:11000/key -d '{"svc/b":"0"}'""", "200 | Craftd-Index: i45", ""),
    ("""curl localhost:11000/key -d '{"svc/b":"2","svc/c":"3","t":"\\t%\\n","x/1":"","x/2":""}'""",
     "200 | Craftd-Index: i57", ""),
    ("curl 'localhost:11000/keys?prefix=svc/&limit=2'",
     f"200 | {JSON} | Craftd-Index: i57 | Craftd-Level: linearizable"
     ' | Link: </keys?prefix=svc/&limit=2&after=svc%2Fb>; rel="next"',
     '{"items":[{"key":"svc/a","value":"1","index":i44,"create_index":i44},'
     '{"key":"svc/b","value":"2","index":i57,"create_index":i45}],'
     '"more":true,"after":"svc/b","index":i57}\n'),
    ("curl 'localhost:11000/keys?prefix=svc/&limit=2&after=svc%2Fb'", "200 | !Link",
     '{"items":[{"key":"svc/c",...}],"more":false,"index":i57}\n'),
    ("curl 'localhost:11000/keys?keys&end=t'", "200",
     '{"items":[{"key":"svc/a"},{"key":"svc/b"},{"key":"svc/c"}],"more":false,"index":i57}\n'),
    ("curl 'localhost:11000/keys?keys&reverse&limit=2'",
     '200 | Link: </keys?keys&reverse&limit=2&after=x%2F1>; rel="next"',
     '{"items":[{"key":"x/2"},{"key":"x/1"}],"more":true,"after":"x/1","index":i57}\n'),
    ("curl 'localhost:11000/keys?separator=/&keys'", "200",
     '{"items":[{"prefix":"svc/"},{"key":"t"},{"prefix":"x/"}],"more":false,"index":i57}\n'),
    ("curl 'localhost:11000/keys?prefix=svc/&count'", f"200 | {JSON}",
     '{"count":3,"exact":true,"index":i57}\n'),
    ("curl localhost:11000/keys?count", "200", '{"count":6,"exact":true,"index":i57}\n'),
    ("curl 'localhost:11000/keys?prefix=svc/&limit=2&format=ndjson'",
     "200 | Content-Type: application/x-ndjson | Link: ...",
     '{"key":"svc/a","value":"1","index":i44,"create_index":i44}\n'
     '{"key":"svc/b","value":"2","index":i57,"create_index":i45}\n'),
    ("curl 'localhost:11000/keys?after=svc/b&end=x&format=lines'",
     "200 | Content-Type: text/plain; charset=utf-8", "svc/c\t3\nt\t%09%25%0A\n"),
    ("curl 'localhost:11000/keys?prefix=svc/&level=none&min_index=i57'",
     "200 | Craftd-Level: none", None),
    ("curl localhost:11000/keys?prefix=none", "200",
     '{"items":[],"more":false,"index":i57}\n'),
    ("curl localhost:11000/keys?limit=999999", "200", None),
    ("curl localhost:11000/keys?limit=0", "400", '{..."code":"bad-param"...}\n'),
    ("curl localhost:11000/keys?format=xml", "400", '{..."code":"bad-param"...}\n'),
    ("curl -X DELETE localhost:11000/keys", "400", '{...&all...}\n'),
    ("curl -X DELETE 'localhost:11000/keys?prefix=svc/&count'", "400", None),
    ("curl -X DELETE 'localhost:11000/keys?prefix=svc/&count=0&keys=false'",
     f"200 | {JSON} | Craftd-Index: i60",
     '{"deleted":3,"index":i60}\n'),
    ("curl -X DELETE 'localhost:11000/keys?prefix=svc/'", "200", '{"deleted":0,"index":...}\n'),
    ("curl -X DELETE 'localhost:11000/keys?all'", "200", '{"deleted":3,"index":i61}\n'),
]

# ---- 6: time-outs and leases ----

ENDS = [
    ("curl -X PUT --data-binary 1 'localhost:11000/key/a?ttl=1h'", '201 | ETag: "i44"', ""),
    ("curl -i localhost:11000/key/a", '200 | ETag: "i44" | Craftd-Ttl: ...', '{"a":"1"}'),
    ("curl localhost:11000/key/a?meta", "200",
     '{"key":"a","value":"1","index":i44,"create_index":i44,"version":1,"ttl":3...}\n'),
    ("curl localhost:11000/keys", "200",
     '{"items":[{"key":"a","value":"1","index":i44,"create_index":i44,"ttl":3...}],...}\n'),
    ("curl localhost:11000/ttl/a", f"200 | {JSON} | Craftd-Ttl: ...", '{"ttl":3...}\n'),
    ("curl -X PUT -d 2h localhost:11000/ttl/a", "204", ""),
    ("curl localhost:11000/ttl/a", "200", '{"ttl":7...}\n'),
    ("curl -X DELETE localhost:11000/ttl/a", "204", ""),
    ("curl localhost:11000/ttl/a", "200 | !Craftd-Ttl", '{"ttl":null}\n'),
    ("curl localhost:11000/key/a", '200 | ETag: "i44" | !Craftd-Ttl', '{"a":"1"}'),
    ("curl localhost:11000/ttl/none", f"404 | {PROBLEM}", '{..."code":"not-found"...}\n'),
    ("curl -X PUT -d x localhost:11000/ttl/a", "400", '{..."code":"bad-request"...}\n'),
    ("curl -X PUT -d 1 'localhost:11000/key/a?ttl=50ms'", "400", '{..."code":"bad-param"...}\n'),
    ("curl -X POST 'localhost:11000/lease?ttl=1h'", "201 | Location: /lease/l-i58",
     '{"id":"l-i58","ttl":3600}\n'),
    ("curl -X PUT -d me -H 'If-None-Match: *' 'localhost:11000/key/lock?lease=l-i58'",
     '201 | ETag: "i59"', ""),
    ("curl -X PUT -d me -H 'If-None-Match: *' 'localhost:11000/key/lock?lease=l-i58'",
     '412 | ETag: "i59"', None),
    ("curl localhost:11000/ttl/lock", "200", '{"ttl":3...,"lease":"l-i58"}\n'),
    ("curl localhost:11000/lease/l-i58", "200",
     '{"id":"l-i58","ttl":3600,"left":3...,"keys":["lock"]}\n'),
    ("curl localhost:11000/lease", "200",
     '{"leases":[{"id":"l-i58","ttl":3600,"left":3...,"keys":1}],"more":false,"index":...}\n'),
    ("curl -X PUT localhost:11000/lease/l-i58", "204 | Craftd-Ttl: 3600000", ""),
    ("curl -X DELETE localhost:11000/lease/l-i58", "200 | Craftd-Deleted: 1", ""),
    ("curl -X PUT localhost:11000/lease/l-i58", "404", '{..."code":"not-found"...}\n'),
    ("curl localhost:11000/key/lock", "404", '{"lock":""}'),
    ("curl -X PUT -d me 'localhost:11000/key/lock?lease=l-i58'", "404",
     '{..."code":"not-found"...}\n'),
    ("curl -X DELETE 'localhost:11000/keys?all'", "200", '{"deleted":1,"index":...}\n'),
]

# ---- 4: how fresh, and where ----

LEVELS = [
    ("""curl localhost:11000/key -d '{"a":"1"}'""", "200 | Craftd-Index: i42", ""),
    ("curl localhost:11000/key/a", "200 | Craftd-Level: linearizable", '{"a":"1"}'),
    ("curl localhost:11000/key/a?level=linearizable", "200 | Craftd-Level: linearizable", None),
    ("curl localhost:11000/key/a?level=strong", "200 | Craftd-Level: strong", '{"a":"1"}'),
    ("curl 'localhost:11000/key/a?level=none&min_index=i42'", "200 | Craftd-Level: none",
     '{"a":"1"}'),
    ("curl -H 'Craftd-Min-Index: i42' localhost:11000/key/a?level=none",
     "200 | Craftd-Level: none", '{"a":"1"}'),
    ("curl localhost:11000/key/a?level=auto", "200 | Craftd-Level: linearizable", None),
    ("curl localhost:11000/key/a?stale", "200 | Craftd-Level: none", None),
    ("curl localhost:11000/key/a?consistent", "200 | Craftd-Level: linearizable", None),
    ("curl 'localhost:11000/key/a?stale&consistent'", "200 | Craftd-Level: linearizable", None),
    ("curl 'localhost:11000/key/a?level=none&freshness=2s&freshness_strict'",
     "200 | Craftd-Level: none", None),
    ("curl 'localhost:11000/key/a?level=none&min_index=99999999&timeout=50ms'",
     f"503 | {PROBLEM} | Retry-After: 1", '{..."code":"stale"...}\n'),
    ("curl localhost:11000/key/a?level=certain", "400", '{..."code":"bad-param"...}\n'),
    ("curl localhost:11000/key/a?min_index=x", "400", '{..."code":"bad-param"...}\n'),
]

LEVELS_LEADER = [
    ("curl localhost:11000/key/a?level=weak", "200 | Craftd-Level: weak | !Craftd-Last-Contact",
     None),
    ("curl localhost:11000/key/a?redirect", "200", None),
    ("curl -X PUT --data-binary 2 localhost:11000/key/a?redirect", "204", ""),
]

AWAY = "Location: http://$leader_http"
LEVELS_FOLLOWER = [
    ("curl localhost:11000/key/a?level=weak",
     "200 | Craftd-Level: linearizable | Craftd-Last-Contact: ...", None),
    ("curl localhost:11000/key/a?stale", "200 | Craftd-Last-Contact: ...", None),
    ("curl 'localhost:11000/key/a?redirect&raw'", f"307 | {AWAY}/key/a?redirect&raw", ""),
    ("curl --request-target http://else/key/a?redirect localhost:11000",
     f"307 | {AWAY}/key/a?redirect", ""),
    ("curl localhost:11000/key?redirect -d '{}'", f"307 | {AWAY}/key?redirect", ""),
    ("curl -L -X PUT --data-binary 2 localhost:11000/key/a?redirect",
     "204 | Craftd-Node: $leader", ""),
    ("curl -X DELETE 'localhost:11000/keys?all&redirect'", "307", ""),
    ("curl localhost:11000/txn?redirect -d '{}'", f"307 | {AWAY}/txn?redirect", ""),
    ("curl 'localhost:11000/key/a?redirect&stale'", "200", None),
]

# ---- 7: transactions ----

TXN = """curl localhost:11000/txn -d '{
 "if":  [{"key":"a","index":i44},{"key":"b","exists":false},{"key":"c","value":"x"}],
 "then":[{"put":"a","value":"1"},{"delete":"b"},{"delete_prefix":"tmp/"},{"get":"z"},
         {"incr":"n","by":1}]%s}'"""
PAY = "curl -H 'Idempotency-Key: pay-$me' localhost:11000/txn -d "
TRANSACTIONS = [
    ("""curl localhost:11000/key -d '{"z":"9"}'""", "200 | Craftd-Index: i12", ""),
    ("""curl localhost:11000/key -d '{"a":"0","c":"x","n":"7","tmp/1":"","tmp/2":"","tmp/3":""}'""",
     "200 | Craftd-Index: i44", ""),
    (TXN % "", f"200 | {JSON} | Craftd-Index: i62",
     '{"ok":true,"index":i62,"results":[{"index":i62},{"deleted":0},{"deleted":3},'
     '{"key":"z","value":"9","index":i12,"create_index":i12},{"value":"8"}]}\n'),
    (TXN % ',"else":[{"get":"a"},{"get":"none"}]', "200",
     '{"ok":false,"index":...,"results":[{"key":"a","value":"1","index":i62,'
     '"create_index":i44},{"key":"none","value":null,"index":0}]}\n'),
    (TXN % "", f'412 | {PROBLEM} | ETag: "i62"',
     '{..."code":"precondition-failed"..."outcome":"not-applied","clause":0,...}\n'),
    ("""curl localhost:11000/txn -d '{"if":[{"key":"a","create_index":i44},
      {"key":"none","index":0},{"key":"c","value_base64":"eA=="}],"then":[]}'""",
     "200", '{"ok":true,"index":...,"results":[]}\n'),
    ("""curl localhost:11000/txn -d '{"then":[{"put":"b","value_base64":"/wA="}]}'""", "200", None),
    ("curl localhost:11000/key/b?raw", "200", b"\xff\0"),
    ("""curl localhost:11000/txn -d '{"then":[{"incr":"new"},{"incr":"new","by":-5}]}'""", "200",
     '{..."results":[{"value":"1"},{"value":"-4"}]}\n'),
    # A failed transaction has no effect.
    ("""curl localhost:11000/txn -d '{"then":[{"put":"d","value":"1"},{"incr":"c"}]}'""", "409",
     '{..."code":"not-a-number"..."operation":1...}\n'),
    ("""curl localhost:11000/txn -d '{"then":[{"incr":"n","by":9223372036854775807}]}'""", "409",
     '{..."code":"overflow"...}\n'),
    ("curl localhost:11000/key/d", "404", None),
    ("""curl localhost:11000/txn -d '{"then":[{"put":"d","value":"1","expire":"30s"}]}'""", "400", None),
    # Once, however often it is sent.
    (PAY + """'{"then":[{"incr":"sum","by":5}]}'""", "200 | !Idempotency-Replayed",
     '{"ok":true,"index":i70,"results":[{"value":"5"}]}\n'),
    (PAY + """'{"then":[{"incr":"sum","by":5}]}'""", "200 | Idempotency-Replayed: true",
     '{"ok":true,"index":i70,"results":[{"value":"5"}]}\n'),
    (PAY + """'{"then":[{"incr":"sum","by":6}]}'""", f"422 | {PROBLEM}",
     '{..."code":"idempotency-mismatch"...}\n'),
    ("curl localhost:11000/key/sum", "200", '{"sum":"5"}'),
    ("curl -X PUT --data-binary 1 -H 'Idempotency-Key: put-$me' localhost:11000/key/once",
     '201 | ETag: "i80"', ""),
    ("curl -X PUT --data-binary 1 -H 'Idempotency-Key: put-$me' localhost:11000/key/once",
     '201 | ETag: "i80" | Idempotency-Replayed: true', ""),
    ("curl -X DELETE -H 'Idempotency-Key: del-$me' localhost:11000/key/once",
     "200 | Craftd-Deleted: 1", ""),
    ("curl -X DELETE -H 'Idempotency-Key: del-$me' localhost:11000/key/once",
     "200 | Craftd-Deleted: 1 | Idempotency-Replayed: true", ""),
    ("""curl -H 'Idempotency-Key: post-$me' localhost:11000/key -d '{"sum":"0"}'""", "200", ""),
    ("curl --retry 3 -H 'Idempotency-Key: post-$me' localhost:11000/key -d '{\"sum\":\"0\"}'",
     "200 | Idempotency-Replayed: true", ""),
]

# ---- 8: the cluster ----

STATUS = """{"me":{"id":"$me","address":"$raft"},"leader":{"id":"$leader","address":"$leader_raft"},
"followers":[{"id":"...","address":"..."},{"id":"...","address":"..."}],"role":"$role","term":...,
"commit":...,"applied":...,"last_log":...,"cluster":"...","version":"...","sqlite":"...","api_version":1,
...,"peers":[{"id":"...","address":"...","role":"voter"...,"reachable":true,"last_error":""},{...}],
"storage":{"db_bytes":...,"log_bytes":...,"written_bytes":...,"fsync_p99_ms":...,
"quota_bytes":1073741824,...},
"limits":{"key":1024,"value":1048576,"body":4194304,"txn_ops":512,"connections":1024},"hints":[]}
""".replace("\n", "") + "\n"
GHOST = """'{"addr":"127.0.0.1:1","id":"ghost","voter":false}'"""
CLUSTER = [
    ("curl localhost:11000/status", f"200 | {JSON}", STATUS),
    ("curl localhost:11000/hash", f"200 | {JSON}", '{"index":...,"hash":"..."}\n'),
    ("curl localhost:11000/nodes", f"200 | {JSON}",
     '[{"id":"node0","address":"...","http":"...",...,"role":"voter","voter":true,...},{...},{...}]\n'),
    ("curl localhost:11000/nodes/$me", f"200 | {JSON}",
     '{"id":"$me","address":"$raft","http":"$http",...,"role":"voter",...,"reachable":true...}\n'),
    ("curl localhost:11000/nodes/nobody", f"404 | {PROBLEM}", '{..."code":"not-found"...}\n'),
    ("curl localhost:11000/leader", f"200 | {JSON}",
     '{"id":"$leader","address":"$leader_raft","http":"$leader_http"}\n'),
    # A member is there already: nothing to do.
    ("""curl localhost:11000/join -d '{"addr":"$raft","id":"$me"}'""", "200 | !Content-Type", ""),
    ("curl localhost:11000/join -d " + GHOST, "200", ""),
    ("curl localhost:11000/join -d " + GHOST, "200", ""),
    ("curl -X POST localhost:11000/sync", "200", None),
    ("curl localhost:11000/nodes/ghost", "200", '{"id":"ghost",..."role":"non-voter","voter":false,...}\n'),
    ("""curl -X PUT 'localhost:11000/nodes/ghost?timeout=200ms' -d '{"voter":true}'""",
     f"409 | {PROBLEM} | Retry-After: 1", '{..."code":"not-caught-up"...}\n'),
    ("curl -X DELETE localhost:11000/nodes/ghost", "200", ""),
    ("curl -X DELETE localhost:11000/nodes/ghost", "404", None),
    ("curl localhost:11000/join -d " + GHOST, "200", ""),
    ("""curl -X DELETE localhost:11000/remove -d '{"id":"ghost"}'""", "200", ""),
    ("""curl -X DELETE localhost:11000/remove -d '{"id":"ghost"}'""", "404", None),
    ("""curl -X PUT localhost:11000/nodes/$other -d '{"voter":false}'""", "200", ""),
    ("""curl -X PUT localhost:11000/nodes/$other -d '{"voter":true}'""", "200", ""),
    # The answer comes when the new leader leads; it may lead already.
    ("""curl localhost:11000/leader -d '{"id":"$leader"}'""", "200", '{"id":"$leader",...}\n'),
    ("""curl localhost:11000/leader -d '{"id":"$other"}'""", f"200 | {JSON}", '{"id":"$other",...}\n'),
    ("""curl localhost:11000/leader -d '{"id":"$leader"}'""", "200", '{"id":"$leader",...}\n'),
    ("""curl localhost:11000/leader -d '{"id":"nobody"}'""", "404", None),
    ("curl localhost:11000/leader -d '{}'", "200", '{"id":"...",...}\n'),
    ("""curl localhost:11000/leader -d '{"id":"$leader"}'""", "200", '{"id":"$leader",...}\n'),
    # Barrier and snapshot.
    ("""curl localhost:11000/key -d '{"a":"1"}'""", "200 | Craftd-Index: i62", ""),
    ("curl -X POST localhost:11000/sync", f"200 | {JSON}", '{"index":i62,"nodes":{"$me":i62}}\n'),
    ("curl -X POST localhost:11000/sync?nodes=all", "200",
     '{"index":i62,"nodes":{"$me":i62,"...":...,"...":...}}\n'),
    ("curl -X POST localhost:11000/snapshot", f"200 | {JSON}", '{"index":i62,"bytes":...}\n'),
    ("curl -X POST localhost:11000/snapshot", "204 | !Content-Type", ""),
]

# ---- 9 and 10: backup, health, figures ----

BACKUP = [
    ("""curl localhost:11000/key -d '{"a":"1"}'""", "200 | Craftd-Index: i62", ""),
    ("curl localhost:11000/backup",
     '200 | Content-Type: application/vnd.sqlite3 | ETag: "i62" | Craftd-Index: i62'
     ' | Content-Length: ... | Craftd-Level: linearizable'
     ' | Content-Disposition: attachment; filename="craftd-$cluster-i62.db"', None),
    ("curl 'localhost:11000/backup?level=none&min_index=i62'",
     '200 | ETag: "i62" | Craftd-Level: none', None),
    ("curl -I localhost:11000/backup", '200 | ETag: "i62" | Content-Length: ...', ""),
    ("curl localhost:11000/backup?format=ndjson", f"400 | {PROBLEM}", None),
    ("curl localhost:11000/export",
     "200 | Content-Type: application/x-ndjson | Craftd-Index: i62 | Craftd-Keys: 1",
     '{"key":"a","value":"1","index":i62,"create_index":i62}\n'
     '{"end":true,"index":i62,"keys":1}\n'),
]

TEXT = "Content-Type: text/plain"
HEALTH = [
    ("curl localhost:11000/livez", f"200 | {TEXT}", "ok\n"),
    ("curl localhost:11000/readyz", f"200 | {TEXT}", "[+]node ok\n[+]leader ok\n[+]store ok\n"),
    ("curl localhost:11000/readyz?noleader", "200", "[+]node ok\n[+]store ok\n"),
    ("curl localhost:11000/readyz?noleader=0", "200", "[+]node ok\n[+]leader ok\n[+]store ok\n"),
    ("curl 'localhost:11000/readyz?sync&timeout=5s'", "200",
     "[+]node ok\n[+]leader ok\n[+]store ok\n[+]sync ok\n"),
    ("curl localhost:11000/healthz", "200", "[+]node ok\n[+]leader ok\n[+]store ok\n"),
    ("curl localhost:11000/health", f"200 | {JSON}", '{"health":"true"}\n'),
    ("curl -I localhost:11000/readyz", "200", ""),
    ("curl localhost:11000/metrics", "200 | Content-Type: text/plain; version=0.0.4...",
     "...craftd_build_info{version=...craftd_raft_is_leader ...craftd_keys ..."),
]

# ---- 11: brokerd's names ----

V1 = "localhost:11000/api/v1"
PROPERTIES = [
    (f"curl {V1}/", f"200 | {JSON}", '{"name":"craftd","api":"v1"}\n'),
    (f"""curl {V1}/properties -d '{{"key":"svc.a","value":"1"}}'""",
     f"200 | {JSON} | Craftd-Index: i44", '{"key":"svc.a","value":"1"}\n'),
    (f"""curl {V1}/properties -d '{{"key":"svc.a","value":"1"}}'""", f"409 | {JSON}",
     '{..."code":"exists","message":...}\n'),
    (f"""curl {V1}/properties -d '{{"key":"svc.a"}}'""", f"400 | {JSON}", None),
    (f"""curl {V1}/settings -d '{{"key":"svc.b","value":"2"}}'""", "200", None),
    (f"""curl {V1}/settings -d '{{"key":"svcXc","value":"3"}}'""", "200", None),
    (rf"curl '{V1}/properties?pattern=^svc\.&limit=50&offset=0'", f"200 | {JSON} | !Link",
     '[{"key":"svc.a","value":"1"},{"key":"svc.b","value":"2"}]\n'),
    (f"curl '{V1}/properties?pattern=svc&limit=1&offset=1'",
     '200 | Link: <?pattern=svc&limit=1&offset=2>; rel="next"',
     '[{"key":"svc.b","value":"2"}]\n'),
    (f"curl '{V1}/properties?pattern=('", f"400 | {JSON}", '{..."code":"bad-param"...}\n'),
    (f"curl {V1}/properties/svc.a", f'200 | {JSON} | ETag: "i44"',
     '{"key":"svc.a","value":"1"}\n'),
    (f"curl {V1}/settings/svc.a", "200", '{"key":"svc.a","value":"1"}\n'),
    (f"curl {V1}/properties/none", f"404 | {JSON}", '{..."code":"not-found","message":...}\n'),
    (f"""curl -X PUT {V1}/properties/svc.a -d '{{"key":"svc.a","value":"2"}}'""", "200",
     '{"key":"svc.a","value":"2"}\n'),
    (f"""curl -X PUT {V1}/properties/none -d '{{"key":"none","value":"2"}}'""", "404", None),
    (f"""curl -X PUT {V1}/properties/svc.a -d '{{"key":"b","value":"2"}}'""", "400", None),
    ("curl localhost:11000/key/svc.a", "200", '{"svc.a":"2"}'),
    (f"curl -X DELETE {V1}/properties/svcXc", "200", None),
    (f"curl -X DELETE {V1}/properties/svcXc", "404", None),
    (f"curl -X DELETE '{V1}/properties?pattern=^none'", f"404 | {JSON}", None),
    (rf"curl -X DELETE '{V1}/properties?pattern=\.[ab]$$'", "200", '{"deleted":2,"index":...}\n'),
    (f"curl -X DELETE {V1}/properties", "404", None),
    (f"curl {V1}/cluster/nodes?status=leader", f"200 | {JSON}",
     '[{"id":"$leader","address":"$leader_raft","status":"leader"}]\n'),
    (f"curl {V1}/cluster/nodes?status=follower", "200",
     '[{"id":"...","address":"...","status":"follower"},{...}]\n'),
    (f"curl {V1}/cluster/nodes?status=candidate", "200", "[]\n"),
    (f"curl {V1}/cluster/nodes?status=king", f"400 | {JSON}", None),
    (f"curl {V1}/cluster/leader", "200", '{"id":"$leader",...}\n'),
    (f"""curl {V1}/cluster/leader -d '{{"id":"$leader"}}'""", "200", '{"id":"$leader",...}\n'),
    (f"""curl {V1}/key -d '{{}}'""", "404", None),
    (f"""curl localhost:11000/key -d '{{"a":"1"}}'""", "200 | Craftd-Index: i62", ""),
    (f"curl -X POST {V1}/cluster/sync", "200", '{"index":i62,"nodes":{"$me":i62}}\n'),
    (f"curl -X POST {V1}/cluster/snapshot", "200", '{"index":i62,"bytes":...}\n'),
    (f"""curl {V1}/join -d '{{"addr":"$raft","id":"$me"}}'""", "200", ""),
]

SECTIONS = {"0 ground rules": GROUND, "2 keys": KEYS, "3 lists": LISTS,
            "4 levels": LEVELS, "6 time-outs and leases": ENDS,
            "7 transactions": TRANSACTIONS, "8 cluster": CLUSTER, "9 backup": BACKUP,
            "10 health": HEALTH, "11 brokerd": PROPERTIES}


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    nodes = Cluster(tmp_path_factory.mktemp("trio"))
    try:
        yield nodes.start(3)
    finally:
        nodes.stop()


@pytest.fixture
def folder(tmp_path):
    """Files that the lines name."""
    (tmp_path / "cfg.bin").write_bytes(BLOB)
    (tmp_path / "two.lines").write_bytes(b"one\ntwo\n")
    (tmp_path / "big").write_bytes(b"b" * (1 << 20))
    return tmp_path


def table(trio, number, folder):
    """For node `number`, of a cluster without keys."""
    node = trio[number]
    leader = trio.wait_leader()
    assert node.request("DELETE", "/keys?all").status == 200
    assert node.request("POST", "/sync?nodes=all").status == 200
    other = next(n for n in trio.others(leader) if n is not node)
    return Table(folder, node, me=node.name, raft=node.raft, http=node.http,
                 leader=leader.name, leader_raft=leader.raft, leader_http=leader.http,
                 other=other.name, role="leader" if node is leader else "follower",
                 cluster=node.status()["cluster"][:8])


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("number", range(3))
def test_section(trio, folder, number, section):
    rows = table(trio, number, folder)
    extra = []
    if section == "4 levels":
        extra = LEVELS_LEADER if rows.names["role"] == "leader" else LEVELS_FOLLOWER
    for row in SECTIONS[section] + extra:
        got = rows.row(*row)
        assert got.headers["craftd-node"] == rows.names["me"] or "-L" in row[0], row
        if got.headers.get("content-type", "").endswith(("/json", "+json")) \
                and got.body and row[0].count("localhost:11000") == 1:
            body = json.loads(got.body)
            if got.status >= 400 and "code" in body:
                check_problem(got, body)
    rows.in_order()


def check_problem(got, body):
    """RFC 9457, and brokerd's Error."""
    assert body["type"] == "urn:craftd:" + body["code"], body
    assert body["title"] == body["code"].replace("-", " "), body
    assert body["status"] == got.status and body["message"], body
    assert body["node"] == got.headers["craftd-node"] and body["term"] > 0, body
    assert body.get("outcome", "not-applied") in ("not-applied", "unknown"), body


def test_the_tables_are_as_large_as_they_were():
    """A table that has lost its rows passes."""
    rows = sum(map(len, SECTIONS.values())) + len(LEVELS_LEADER) + len(LEVELS_FOLLOWER)
    assert rows > 230, rows


# ---- what a row cannot say ----

@pytest.mark.parametrize("number", range(3))
def test_100_continue_is_sent_only_when_needed(trio, folder, number):
    (folder / "over").write_bytes(b"o" * ((1 << 20) + 1))
    (folder / "far").write_bytes(b"o" * ((4 << 20) + 1))
    ask = "curl -H 'Expect: 100-continue' -w '%{size_upload}' -T "
    for name, statuses, sent in (("big", [100, 201], 1 << 20), ("over", [413], 0),
                                 ("far", [413], 0)):
        got, done = run(f"{ask}{name} localhost:11000/key/expect", str(folder),
                        trio[number].http)
        assert done.returncode == 0
        assert [status for status, _ in got.blocks] == statuses, got
        assert got.body.endswith(str(sent).encode()), got
    assert trio[number].request("DELETE", "/key/expect").status == 200


@pytest.mark.parametrize("number", range(3))
def test_an_empty_line_before_a_request(trio, folder, number):
    """As old clients end a body; and several requests in one packet."""
    request = b"GET /key/nope HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /key/nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    host, port = trio[number].http.split(":")
    for sent, statuses in (
            (b"\r\n" + last, [404]), (request + b"\r\n" + last, [404, 404]),
            (request + request + last, [404, 404, 404]),
            (b"\r\n\r\n" + last, [400]), (request + b"\r\n\r\n" + last, [404, 400])):
        done = subprocess.run(["curl", "-sS", "--max-time", "10", f"telnet://{host}:{port}"],
                              input=sent, capture_output=True, timeout=15, check=False)
        answers = done.stdout.replace(b'{"nope":""}', b"")
        assert [status for status, _ in parse(answers)] == statuses, done


@pytest.mark.parametrize("number", range(3))
def test_the_backup_is_a_database(trio, folder, number):
    rows = table(trio, number, folder)
    assert rows.node.put("user1", "batman").status == 200
    got, done = run("curl -o backup.db localhost:11000/backup", str(folder), rows.node.http)
    assert done.returncode == 0
    path = folder / "backup.db"
    assert os.path.getsize(path) == int(got.headers["content-length"])
    with sqlite3.connect(path) as database:
        pairs = database.execute("select key, value from pairs").fetchall()
    assert [tuple(v.encode() if isinstance(v, str) else v for v in row)
            for row in pairs] == [(b"user1", b"batman")]


FIGURES = """
craftd_build_info craftd_sandbox craftd_start_time_seconds process_resident_memory_bytes
process_open_fds process_cpu_seconds_total
craftd_raft_is_leader craftd_raft_has_leader craftd_raft_term
craftd_raft_leader_changes_total craftd_raft_elections_total
craftd_raft_commit_index craftd_raft_applied_index craftd_raft_last_log_index
craftd_raft_peers craftd_raft_proposals_pending craftd_raft_proposals_total
craftd_raft_commit_duration_seconds_bucket craftd_raft_peer_rtt_seconds
craftd_raft_peer_lag_entries craftd_raft_snapshots_total
craftd_raft_catch_up_bytes craftd_raft_catch_up_entries
craftd_storage_fsync_duration_seconds_bucket craftd_storage_written_bytes_total
craftd_storage_db_size_bytes craftd_storage_log_size_bytes
craftd_storage_quota_bytes craftd_storage_cache_bytes
craftd_storage_buffered_bytes craftd_storage_no_space
craftd_http_requests_total craftd_http_request_duration_seconds_bucket
craftd_http_connections craftd_http_forwarded_total craftd_keys
craftd_ttl_keys craftd_leases craftd_expired_total craftd_next_expiry_seconds
craftd_idempotency_replays_total craftd_reactor_stall_seconds_max
craftd_reactor_turn_seconds_bucket
""".split()


@pytest.mark.parametrize("number", range(3))
def test_figures(trio, folder, number):
    rows = table(trio, number, folder)

    def figures():
        got, done = run("curl localhost:11000/metrics", str(folder), rows.node.http)
        assert done.returncode == 0
        lines = [line for line in got.body.decode().splitlines() if line[0] != "#"]
        assert len(lines) <= 200
        return {line.rsplit(" ", 1)[0]: line.rsplit(" ", 1)[1] for line in lines}
    before = figures()
    names = {name.split("{")[0] for name in before}
    only_leader = {name for name in FIGURES if name.startswith("craftd_raft_peer_")}
    missing = set(FIGURES) - names
    assert missing == (set() if rows.names["role"] == "leader" else only_leader)
    replays = "craftd_idempotency_replays_total"
    for _ in range(3):
        assert rows.node.request("PUT", "/key/f", b"1", {"Idempotency-Key":
                                                         f"f-{number}"}).status == 201
    assert int(figures()[replays]) == int(before[replays]) + 2


def test_a_large_page_is_indented_too(trio, folder):
    """Longer than what is sent at once."""
    rows = table(trio, 1, folder)
    assert rows.node.put_many({f"page-{i:05}": "v" * 20 for i in range(5000)}).status == 200
    plain = rows.node.request("GET", "/keys?limit=5000")
    pretty = rows.node.request("GET", "/keys?limit=5000&pretty")
    assert len(pretty.body) > 5000 * 100
    assert pretty.body.decode() == json.dumps(plain.json(), indent=2) + "\n"
    head = rows.node.request("HEAD", "/keys?limit=5000&pretty")
    assert head.headers["Content-Length"] == str(len(pretty.body))


# ---- 14: the command line ----

SPELLINGS = {
    "id": "-id --id -i -node-id --node-id",
    "http": "-haddr --haddr --http -http -http-addr",
    "raft": "-raddr --raddr --raft -raft -r -raft-addr",
    "http-adv": "--http-adv -http-adv-addr",
    "raft-adv": "--raft-adv -raft-adv-addr",
    "join": "-join --join -j",
    "dir": "-d --dir -dir",
    "leave-on-exit": "--leave-on-exit -raft-cluster-remove-shutdown",
    "non-voter": "--non-voter -raft-non-voter",
    "inmem": "--inmem -inmem",
    "reap": "--reap -raft-reap-node-timeout",
}
VALUES = {"leave-on-exit": "true", "non-voter": "true", "inmem": "true", "reap": "72h"}


@pytest.mark.parametrize("flag", SPELLINGS)
def test_flags_of_the_ancestors(flag, tmp_path):
    """Each spelling is taken, with '=' and with a blank: what is complained of
    is the flag behind it."""
    for word in SPELLINGS[flag].split() + (["-h"] if flag == "http" else []):
        text = VALUES.get(flag, ":19999")
        for value in ([word] if text == "true" else [word, text], [word + "=" + text]):
            if value == ["-h=:19999"]:
                continue
            done = subprocess.run([BINARY, *value, "--bogus", str(tmp_path / "d")],
                                  capture_output=True, text=True, timeout=10, check=False)
            assert done.returncode == 2 and "unknown flag --bogus" in done.stderr, (value, done)


@pytest.mark.parametrize("words, code", [
    ("--help", 0), ("-help", 0), ("-h", 0), ("--version", 0), ("help", 0), ("", 2),
    ("-inmem --http nowhere:x", 2), ("--raft 0.0.0.0:1 -inmem", 2)])
def test_exit_codes(words, code):
    done = subprocess.run([BINARY, *words.split()], capture_output=True, text=True,
                          timeout=10, check=False)
    assert done.returncode == code, done
    assert bool(done.stderr) == (code != 0)
