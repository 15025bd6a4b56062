/* help.c -- the manual of the commands. */
#include "client/client_internal.h"

#define REACH_NOTE(NOTE)                                                       \
    "    --addr ADDR[,ADDR]   servers to ask, in this order: host:port, or\n"  \
    "                         unix:PATH\n"                                     \
    "                         (CRAFTD_ADDR, else localhost:11000)\n"           \
    "    --timeout TIME       time limit of a request: 250ms, 5s (10s)\n" NOTE \
    "    --netrc              user and password of the server from ~/.netrc\n"
#define REACH REACH_NOTE("")

#define QUIET                                                                  \
    "    --quiet              no progress on stderr, which it is shown on "    \
    "if\n"                                                                     \
    "                         that is a terminal\n"

#define LEVEL                                                                  \
    "    --stale              the state of the server itself, possibly old:\n" \
    "                         works without a leader; same as --level none\n"  \
    "    --level LEVEL        linearizable (the default), strong, weak, "      \
    "none\n"                                                                   \
    "                         or auto\n"

#define CODES                                                                  \
    "    0  done\n"                                                            \
    "    1  failed: refused by the server, or an error here\n"                 \
    "    2  wrong usage\n"

#define AWAY                                                                   \
    "    6  no server could be reached, or none could answer now (no "         \
    "leader,\n"                                                                \
    "       overload): nothing was changed, try again\n"

#define UNKNOWN                                                                \
    "    7  the outcome is unknown: the connection broke or the time was "     \
    "over\n"                                                                   \
    "       after the request was sent; the change may still be made\n"

const char help_overview[] =
    "NAME\n"
    "    craftd - a distributed key-value store\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd [FLAGS] DIR          run a node; see craftd --help\n"
    "    craftd COMMAND [FLAGS] [WORD...]\n"
    "\n"
    "COMMANDS\n"
    "  of a running cluster:\n"
    "    get KEY                     print a value\n"
    "    put KEY [VALUE|-]           store a value\n"
    "    del KEY                     delete a key\n"
    "    ls [PREFIX]                 list keys and values\n"
    "    txn [FILE|-]                several operations, atomically\n"
    "    watch [PREFIX]              show changes as they come\n"
    "    status                      the state of a node\n"
    "    nodes                       the members\n"
    "    leader [ID]                 show the leader, or transfer leadership\n"
    "    backup FILE|-               fetch the database\n"
    "    restore --addr ADDR FILE    replace all data by a backup\n"
    "  of a data directory whose node does not run:\n"
    "    restore FILE [FLAGS] DIR    a new cluster from a backup\n"
    "    recover [FLAGS] DIR         when a majority is lost for ever\n"
    "  of this machine:\n"
    "    bench-disk DIR              measure the disk\n"
    "    passwd NAME [PERM...]       a user for the file of --auth\n"
    "    token [PERM...]             a token for the file of --auth\n"
    "    keygen                      make a key for --cluster-key\n"
    "    version                     print the version\n"
    "    help [COMMAND]              this, or the page of a command\n"
    "\n"
    "DESCRIPTION\n"
    "    The commands are clients of the HTTP API. They print the result on\n"
    "    stdout and nothing else, and explain failures on stderr.\n"
    "    Flags have one dash or two, '=' or a blank before their value, and\n"
    "    may stand anywhere; \"--\" goes before words that begin with a dash.\n"
    "    A first word without a slash is a command, or an existing directory:\n"
    "    to start a node in a new one, use craftd ./node0 or --dir node0.\n"
    "\n"
    "    Several servers are asked in turn, as long as it is certain that\n"
    "    nothing was changed. Any node answers for the whole cluster. put,\n"
    "    del and txn carry a name (Idempotency-Key), by which they are\n"
    "    applied at most once: so they are sent again even if an answer is\n"
    "    lost, until --timeout is over.\n"
    "\n"
    "EXIT CODES\n"
    "    0  done\n"
    "    1  failed\n"
    "    2  wrong usage\n"
    "    3  join refused (the daemon)\n"
    "    4  data damaged (the daemon, recover, restore)\n"
    "    5  no such key, or a condition did not hold\n"
    "    6  no server could answer; nothing was changed\n"
    "    7  the outcome is unknown\n"
    "\n"
    "ENVIRONMENT\n"
    "    CRAFTD_ADDR        servers to ask: host:port[,host:port...], or\n"
    "                       unix:PATH\n"
    "    CRAFTD_TOKEN_FILE  file with the token to send, for servers with\n"
    "                       --auth; --netrc has precedence\n"
    "    CRAFTD_USER        user:password to send; the two above have\n"
    "                       precedence. A redirect to a server that is not\n"
    "                       in CRAFTD_ADDR or --addr gets neither of the two\n"
    "    NETRC              file that --netrc reads instead of ~/.netrc\n"
    "\n"
    "EXAMPLES\n"
    "    export CRAFTD_ADDR=10.0.0.1:11000,10.0.0.2:11000,10.0.0.3:11000\n"
    "    craftd put motd \"$(date)\"\n"
    "    if value=$(craftd get motd); then echo \"it is $value\"; fi\n";

const char help_get[] =
    "NAME\n"
    "    craftd get - print a value\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd get [--meta] [--stale | --level LEVEL] KEY\n"
    "\n"
    "DESCRIPTION\n"
    "    Prints the value of KEY, byte for byte. On a terminal only, a line\n"
    "    break follows a value that does not end with one. Nothing is printed\n"
    "    before the whole value is received.\n"
    "\n"
    "OPTIONS\n"
    "    --meta               JSON with the value, its index and more\n" LEVEL
        REACH "\n"
    "EXIT CODES\n" CODES "    5  there is no such key\n" AWAY "\n"
    "EXAMPLES\n"
    "    craftd get svc/config >config.json\n"
    "    craftd get flag || echo 'no such key, or no answer'\n";

const char help_put[] =
    "NAME\n"
    "    craftd put - store a value\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd put [--create | --if-index N] [--print-index] KEY [VALUE|-]\n"
    "\n"
    "DESCRIPTION\n"
    "    Stores VALUE under KEY. Without VALUE, or with \"-\", the value is "
    "all\n"
    "    of stdin, to its last byte. When the exit code is 0, the value is on\n"
    "    the disks of a majority.\n"
    "\n"
    "OPTIONS\n"
    "    --create             only if there is no such key\n"
    "    --if-index N         only if the key was last changed at index N\n"
    "                         (\"index\" of craftd get --meta)\n"
    "    --print-index        print the index of this change: for the next\n"
    "                         --if-index, or as a fencing token\n" REACH "\n"
    "EXIT CODES\n" CODES
    "    5  --create or --if-index did not hold: nothing was changed\n" AWAY
        UNKNOWN "\n"
    "EXAMPLES\n"
    "    craftd put greeting hello\n"
    "    craftd put svc/config <config.json\n"
    "    token=$(craftd put --create --print-index lock \"$HOSTNAME\") || "
    "exit\n";

const char help_del[] =
    "NAME\n"
    "    craftd del - delete a key\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd del [--if-index N] KEY\n"
    "\n"
    "DESCRIPTION\n"
    "    Deletes KEY. A missing key is no failure.\n"
    "\n"
    "OPTIONS\n"
    "    --if-index N         only if the key was last changed at index "
    "N\n" REACH "\n"
    "EXIT CODES\n" CODES "    5  --if-index did not hold: nothing was "
    "changed\n" AWAY UNKNOWN "\n"
    "EXAMPLES\n"
    "    craftd del greeting\n";

const char help_ls[] =
    "NAME\n"
    "    craftd ls - list keys and values\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd ls [--keys] [--limit N] [--stale | --level LEVEL] [PREFIX]\n"
    "\n"
    "DESCRIPTION\n"
    "    Prints a line for each key that begins with PREFIX (every key "
    "without\n"
    "    it), in the order of their bytes: key, TAB, value. Bytes that would\n"
    "    break the format are written as %XX. Keys are fetched in pages of\n"
    "    1000; each page shows one state of the database, different pages may\n"
    "    show different ones. No match is no failure.\n"
    "\n"
    "OPTIONS\n"
    "    --keys               keys only\n"
    "    --limit N            at most N lines\n" LEVEL REACH "\n"
    "EXIT CODES\n" CODES AWAY "\n"
    "EXAMPLES\n"
    "    craftd ls svc/\n"
    "    craftd ls --keys tmp/ | while read -r key; do ...; done\n";

const char help_watch[] =
    "NAME\n"
    "    craftd watch - show changes as they come\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd watch [--initial] [--since N] [--json | --exec COMMAND]\n"
    "                 [PREFIX | --key KEY]\n"
    "\n"
    "DESCRIPTION\n"
    "    Prints a line for each change of a key that begins with PREFIX (of\n"
    "    every key without it): put or delete, TAB, index, TAB, key, and for\n"
    "    put TAB and the value. Bytes that would break the format are written\n"
    "    as %XX. It does not end by itself. When the connection is cut, or "
    "the\n"
    "    server stops, it goes on at the next server after the last change\n"
    "    that was shown: none is missing, and none comes twice.\n"
    "\n"
    "OPTIONS\n"
    "    --key KEY            changes of this key alone\n"
    "    --initial            first the keys as they are; again, when the\n"
    "                         changes since the last one shown are gone\n"
    "    --since N            changes after index N\n"
    "    --json               each change as a JSON object\n"
    "    --exec COMMAND       run a shell command for each change, one after\n"
    "                         the other: CRAFTD_EVENT, CRAFTD_KEY and\n"
    "                         CRAFTD_INDEX are in its environment, the value\n"
    "                         is its input. When it fails, the watch "
    "ends\n" REACH "\n"
    "EXIT CODES\n" CODES
    "    5  no server has the changes since the last one shown (--history):\n"
    "       begin again with --initial\n"
    "    6  at the start, no server could be reached\n"
    "\n"
    "EXAMPLES\n"
    "    craftd watch svc/\n"
    "    craftd watch --key config --initial --exec 'cat >config.new'\n";

const char help_txn[] =
    "NAME\n"
    "    craftd txn - several operations, atomically\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd txn [FILE|-]\n"
    "\n"
    "DESCRIPTION\n"
    "    Sends the transaction in FILE, or on stdin, and prints the answer:\n"
    "    JSON with \"ok\", \"index\" and \"results\". A transaction is an "
    "object\n"
    "    with the lists \"if\" (conditions), \"then\" and, optionally, "
    "\"else\".\n"
    "\n"
    "OPTIONS\n" REACH "\n"
    "EXIT CODES\n" CODES
    "    5  the conditions did not hold; \"else\" was executed, if given\n" AWAY
        UNKNOWN "\n"
    "EXAMPLES\n"
    "    craftd txn <<'END'\n"
    "    {\"if\":   [{\"key\": \"a\", \"value\": \"1\"}],\n"
    "     \"then\": [{\"put\": \"a\", \"value\": \"2\"}, {\"delete\": "
    "\"b\"}]}\n"
    "    END\n";

const char help_status[] =
    "NAME\n"
    "    craftd status - the state of a node\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd status [--json]\n"
    "\n"
    "DESCRIPTION\n"
    "    Prints a line for each fact: its path in the JSON of GET /status, "
    "TAB,\n"
    "    value. The node is the first one of --addr that answers.\n"
    "\n"
    "OPTIONS\n"
    "    --json               the JSON of the server\n" REACH "\n"
    "EXIT CODES\n" CODES AWAY "\n"
    "EXAMPLES\n"
    "    craftd status --addr 10.0.0.2:11000\n"
    "    craftd status | awk '$1 == \"role\" { print $2 }'\n";

const char help_nodes[] =
    "NAME\n"
    "    craftd nodes - the members of the cluster\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd nodes [--json]\n"
    "\n"
    "DESCRIPTION\n"
    "    Prints a line for each member, with TABs between: id, Raft address,\n"
    "    HTTP address, role (voter, learner, ...), \"leader\" or \"-\", and "
    "\"up\" "
    "or\n"
    "    \"down\", as seen by the node that answers.\n"
    "\n"
    "OPTIONS\n"
    "    --json               the JSON of the server\n" REACH "\n"
    "EXIT CODES\n" CODES AWAY "\n"
    "EXAMPLES\n"
    "    craftd nodes | column -t\n";

const char help_leader[] =
    "NAME\n"
    "    craftd leader - show the leader, or transfer leadership\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd leader [--json] [ID]\n"
    "\n"
    "DESCRIPTION\n"
    "    Prints the leader's id, Raft address and HTTP address, with TABs\n"
    "    between. With ID, transfers leadership to that node and prints "
    "nothing.\n"
    "\n"
    "OPTIONS\n"
    "    --json               the JSON of the server\n" REACH "\n"
    "EXIT CODES\n" CODES "    5  there is no node ID\n" AWAY UNKNOWN "\n"
    "EXAMPLES\n"
    "    craftd leader | cut -f1\n"
    "    craftd leader node2\n";

const char help_backup[] =
    "NAME\n"
    "    craftd backup - fetch the database\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd backup [--stale] [--quiet] FILE|-\n"
    "\n"
    "DESCRIPTION\n"
    "    Writes a consistent copy of the database to FILE, or to stdout for\n"
    "    \"-\"; the cluster goes on meanwhile. The copy is a SQLite file, "
    "from\n"
    "    which craftd restore makes a cluster. It is written to\n"
    "    FILE.part-RANDOM in the same directory, synced, and renamed to FILE\n"
    "    when it is complete. On stdout, only the exit code says whether it\n"
    "    is. A server may drop readers that take less than a megabyte per\n"
    "    second: if the next program is slow, write a file first.\n"
    "\n"
    "OPTIONS\n"
    "    --stale              the state of the server, even without a "
    "leader\n" QUIET REACH_NOTE(
        "                         (here: to start, and "
        "between two pieces)\n") "\n"
                                 "EXIT CODES\n" CODES AWAY "\n"
                                 "EXAMPLES\n"
                                 "    craftd backup "
                                 "\"/backup/craftd-$(date "
                                 "+%F).db\"\n"
                                 "    craftd backup - | gzip "
                                 "-1 >craftd.db.gz\n";

const char help_restore[] =
    "NAME\n"
    "    craftd restore - replace all data of a cluster by a backup\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd restore --addr ADDR[,ADDR...] [--quiet] FILE\n"
    "                                    of a running cluster\n"
    "    craftd restore FILE [FLAGS] DIR a new cluster in DIR\n"
    "\n"
    "DESCRIPTION\n"
    "    With --addr: sends FILE, which craftd backup has fetched, to a node.\n"
    "    When all of it has been checked and copied to the cluster, it\n"
    "    replaces all data atomically: no read shows a part of it. Reads and\n"
    "    writes go on before and after; what was written meanwhile is\n"
    "    replaced as well. Every key gets a new index, since indexes never\n"
    "    repeat. Old and new data exist side by side until then: --max-db\n"
    "    must have room for both. Prints the index and the number of keys.\n"
    "\n"
    "    CRAFTD_ADDR is ignored: the cluster whose data is replaced must be\n"
    "    named. Without --addr: see craftd help restore.\n"
    "\n"
    "OPTIONS\n" QUIET REACH_NOTE(
        "                         (here: for each step)\n") "\n"
                                                            "EXIT CODES\n" CODES
                                                                AWAY UNKNOWN
                                                            "\n"
                                                            "EXAMPLES\n"
                                                            "    craftd "
                                                            "restore --addr "
                                                            "localhost:11000 "
                                                            "backup.db\n";

const char help_bench_disk[] =
    "NAME\n"
    "    craftd bench-disk - measure how fast the disk syncs\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd bench-disk [--time TIME] [--quiet] DIR\n"
    "\n"
    "DESCRIPTION\n"
    "    Measures, in DIR, the operations that a node waits for: 4096-byte\n"
    "    writes into a filled file, each followed by fdatasync (every\n"
    "    acknowledged write waits for one), and sequential writes. It uses\n"
    "    64 MiB of space while it runs, and leaves nothing behind. A disk\n"
    "    that syncs in a few microseconds does not really sync.\n"
    "\n"
    "OPTIONS\n"
    "    --time TIME          time for the syncs (3s), and half of it for the\n"
    "                         sequential writes\n" QUIET "\n"
    "EXIT CODES\n" CODES "\n"
    "EXAMPLES\n"
    "    craftd bench-disk /var/lib/craftd\n";

#define PERMS                                                                  \
    "    PERM is all, read[:PREFIX], write[:PREFIX], watch (read), lease,\n"   \
    "    status, ready, join, remove, backup, load (POST /restore),\n"         \
    "    snapshot or leader-ops. With :PREFIX it is for keys that begin\n"     \
    "    with PREFIX. The file of --auth is a JSON array of such lines with\n" \
    "    commas between them, mode 0600; SIGHUP makes the server read it\n"    \
    "    again.\n"

const char help_passwd[] =
    "NAME\n"
    "    craftd passwd - a user for the file of --auth\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd passwd [--rounds N] NAME [PERM...]\n"
    "\n"
    "DESCRIPTION\n"
    "    Reads a password, from a terminal without showing it and twice, else\n"
    "    the first line of stdin, and prints the user NAME as one line of\n"
    "    JSON. The line has a hash of the password (PBKDF2-HMAC-SHA-256 with\n"
    "    a random salt), not the password.\n"
    "\n" PERMS "\n"
    "OPTIONS\n"
    "    --rounds N           rounds of PBKDF2 (100000): what a guess costs,\n"
    "                         and the server once for each user and start\n"
    "\n"
    "EXIT CODES\n" CODES "\n"
    "EXAMPLES\n"
    "    craftd passwd bob read:svc/ write:svc/ status\n"
    "    curl --user bob localhost:11000/key/svc/a\n";

const char help_token[] =
    "NAME\n"
    "    craftd token - a token for the file of --auth\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd token [PERM...]\n"
    "    craftd token --join [FLAG...]\n"
    "\n"
    "DESCRIPTION\n"
    "    Prints two lines: an object for the file, with the hash of a new\n"
    "    token, and the token, 256 random bits in hexadecimal. The token is\n"
    "    nowhere else. Programs send it as \"Authorization: Bearer TOKEN\".\n"
    "\n" PERMS "\n"
    "    With --join a running server makes the token, and keeps it in memory\n"
    "    for ten minutes. It adds one new node to the cluster: the first one\n"
    "    that asks this server with it. Who runs the command needs the\n"
    "    permission join.\n"
    "\n"
    "OPTIONS\n"
    "    --join               see above; the others are for it alone\n" REACH
    "\n"
    "EXIT CODES\n" CODES AWAY "\n"
    "EXAMPLES\n"
    "    craftd token join >line-and-token\n"
    "    (umask 077; craftd token --join --addr host1:11000 >token)\n"
    "    craftd --join host1:11000 --join-token-file token ...\n";

const char help_keygen[] =
    "NAME\n"
    "    craftd keygen - make a key for --cluster-key\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd keygen\n"
    "\n"
    "DESCRIPTION\n"
    "    Prints 256 random bits in hexadecimal, on one line. A file with that\n"
    "    line, the same on every node, is what --cluster-key FILE reads. Its\n"
    "    mode must be 0600 or stricter: the key is all that it takes to be a\n"
    "    member of the cluster.\n"
    "\n"
    "    To change the key without downtime, do each step on all nodes, one\n"
    "    after the other, before the next step; SIGHUP makes a node read its\n"
    "    file again. 1. Add the new key as second line. 2. Swap the lines, so\n"
    "    that the new key seals. 3. Remove the old one.\n"
    "\n"
    "EXIT CODES\n" CODES "\n"
    "EXAMPLES\n"
    "    (umask 077; craftd keygen >cluster.key)\n";

const char help_version[] =
    "NAME\n"
    "    craftd version - print the version\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd version\n"
    "\n"
    "DESCRIPTION\n"
    "    Prints the version of this program. craftd status has that of a\n"
    "    node.\n";

const char help_help[] = "NAME\n"
                         "    craftd help - show the manual\n"
                         "\n"
                         "SYNOPSIS\n"
                         "    craftd help [COMMAND]\n"
                         "\n"
                         "DESCRIPTION\n"
                         "    Prints the list of commands, or the page of one. "
                         "The same page:\n"
                         "    craftd COMMAND --help. The flags of the daemon: "
                         "craftd --help.\n";
