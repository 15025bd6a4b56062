-- load.lua -- what wrk sends:  wrk ... -s load.lua URL -- KIND [QUERY]
--
--   kv-write    POST /key {"k":"v"}
--   kv-read     GET /key/k?QUERY
--   kv-put      PUT /key/k, the value as it is
--   etcd-write  POST /v3/kv/put (JSON gateway, base64)
--   etcd-read   POST /v3/kv/range, QUERY "serializable" for a local read
--
-- Keys are 16 bytes, uniformly random over KEYS (100,000); values are
-- VALUE_BYTES (100) random letters out of a pool of VALUES. Everything that can be built once is built
-- before the clock runs, so that wrk measures the server and not Lua. The
-- last line is one JSON object.
local KEYS = tonumber(os.getenv("KEYS") or "100000")
local VALUE_BYTES = tonumber(os.getenv("VALUE_BYTES") or "100")
local VALUES = tonumber(os.getenv("VALUES") or "128")
local AUTHORIZATION = os.getenv("AUTHORIZATION")
local random = math.random
local seed = 0

function setup(thread)
    seed = seed + 1
    thread:set("seed", seed)
end

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local function base64(text)
    local bits = text:gsub(".", function(c)
        local byte, out = c:byte(), ""
        for shift = 7, 0, -1 do
            out = out .. math.floor(byte / 2 ^ shift) % 2
        end
        return out
    end)
    bits = bits .. ("0"):rep((6 - #bits % 6) % 6)
    local out = bits:gsub("......", function(six)
        local at = tonumber(six, 2) + 1
        return alphabet:sub(at, at)
    end)
    return out .. ("="):rep((4 - #out % 4) % 4)
end

local function head(method, path, body_bytes)
    local text = method .. " " .. path .. " HTTP/1.1\r\nHost: bench\r\n"
    if AUTHORIZATION then
        text = text .. "Authorization: " .. AUTHORIZATION .. "\r\n"
    end
    if body_bytes then
        text = text .. "Content-Type: application/json\r\nContent-Length: " ..
            body_bytes .. "\r\n"
    end
    return text .. "\r\n"
end

local kinds = {}

kinds["kv-write"] = function(values)
    local start = head("POST", "/key", 2 + 16 + 3 + VALUE_BYTES + 2)
    return function(key)
        return start .. '{"' .. key .. '":"' .. values[random(VALUES)] .. '"}'
    end
end

kinds["kv-put"] = function(values)
    return function(key)
        return head("PUT", "/key/" .. key, VALUE_BYTES) ..
            values[random(VALUES)]
    end
end

kinds["kv-read"] = function(_, query)
    query = query and "?" .. query or ""
    return function(key)
        return head("GET", "/key/" .. key .. query)
    end
end

-- Nine characters that never change, two groups of three digits, one digit:
-- three look-ups make the base64 of a key.
local function base64_keys()
    local three, last = {}, {}
    for i = 0, 999 do
        three[i] = base64(("%03d"):format(i))
    end
    for i = 0, 9 do
        last[i] = base64(tostring(i))
    end
    local start = base64("k00000000")
    return function(number)
        local rest = math.floor(number / 10)
        return start .. three[math.floor(rest / 1000)] .. three[rest % 1000] ..
            last[number % 10]
    end
end

kinds["etcd-write"] = function(values)
    local key64, encoded = base64_keys(), {}
    for i = 1, VALUES do
        encoded[i] = base64(values[i])
    end
    local start = head("POST", "/v3/kv/put", 8 + 24 + 11 + #encoded[1] + 2)
    return function(_, number)
        return start .. '{"key":"' .. key64(number) .. '","value":"' ..
            encoded[random(VALUES)] .. '"}'
    end
end

kinds["etcd-read"] = function(_, query)
    local key64 = base64_keys()
    local finish = query == "serializable" and '","serializable":true}' or '"}'
    local start = head("POST", "/v3/kv/range", 8 + 24 + #finish)
    return function(_, number)
        return start .. '{"key":"' .. key64(number) .. finish
    end
end

local build
function init(args)
    math.randomseed(os.time() * 100 + (seed or 0))
    local values = {}
    for i = 1, VALUES do
        local letters = {}
        for j = 1, VALUE_BYTES do
            letters[j] = string.char(random(97, 122))
        end
        values[i] = table.concat(letters)
    end
    build = kinds[args[1]](values, args[2])
end

function request()
    local number = random(0, KEYS - 1)
    return build(("k%015d"):format(number), number)
end

function done(summary, latency)
    local seconds, e = summary.duration / 1e6, summary.errors
    io.write(('{"requests":%d,"seconds":%.3f,"per_s":%.1f,"p50_us":%d,' ..
        '"p99_us":%d,"p999_us":%d,"max_us":%d,"bad_status":%d,"bad_socket":%d}\n'):format(
        summary.requests, seconds, (summary.requests - e.status) / seconds,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max, e.status,
        e.connect + e.read + e.write + e.timeout))
end
