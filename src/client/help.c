/* help.c -- the manual of the commands. */
#include "client/client_internal.h"

#define REACH                                                                  \
    "    --addr ADDR[,ADDR]   servers to ask, host:port, in this order\n"      \
    "                         (CRAFTD_ADDR, else localhost:11000)\n"           \
    "    --timeout TIME       how long a server may take: 250ms, 5s (10s)\n"   \
    "    --netrc              user and password of the server from ~/.netrc\n"

#define LEVEL                                                                  \
    "    --stale              what the server has itself, possibly old: "      \
    "works\n"                                                                  \
    "                         without a leader; the same as --level none\n"    \
    "    --level LEVEL        linearizable (the default), or another level "   \
    "of\n"                                                                     \
    "                         the server's\n"

#define CODES                                                                  \
    "    0  done\n"                                                            \
    "    1  failed: refused by the server, or an error here\n"                 \
    "    2  wrong usage\n"

#define AWAY                                                                   \
    "    6  no server could be reached, or none could answer now (no "         \
    "leader,\n"                                                                \
    "       overload): nothing was done, try again\n"

#define UNKNOWN                                                                \
    "    7  nobody knows: the connection broke or time ran out after the\n"    \
    "       request was sent; it may have been done, or be done soon\n"

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
    "    txn [FILE|-]                several operations, all or none\n"
    "    status                      what a node says of itself\n"
    "    nodes                       the members\n"
    "    leader [ID]                 who leads; or move the leadership\n"
    "    backup FILE|-               fetch the database\n"
    "    restore --addr ADDR FILE    replace all data by a backup's\n"
    "  of a data directory whose node does not run:\n"
    "    restore FILE [FLAGS] DIR    a new cluster from a backup\n"
    "    recover [FLAGS] DIR         when a majority is lost for ever\n"
    "  of this machine:\n"
    "    bench-disk DIR              how fast the disk syncs\n"
    "    passwd NAME [PERM...]       a user for the file of --auth\n"
    "    token [PERM...]             a token for the file of --auth\n"
    "    version                     print the version\n"
    "    help [COMMAND]              this, or the page of a command\n"
    "\n"
    "DESCRIPTION\n"
    "    The commands are clients of the HTTP API. They print what was asked\n"
    "    for on stdout and nothing else, and explain failures on stderr.\n"
    "    Flags have one dash or two, '=' or a blank before their value, and\n"
    "    may stand anywhere; \"--\" goes before words that begin with a dash.\n"
    "    A first word without a slash is a command, or a directory that is\n"
    "    there: a node in a new one is craftd ./node0, or --dir node0.\n"
    "\n"
    "    Several servers are asked in turn, as long as it is certain that\n"
    "    nothing was done. Any node answers for the whole cluster. put, del\n"
    "    and txn have a name of their own (Idempotency-Key), by which they\n"
    "    are done once at most: they are sent again also when an answer got\n"
    "    lost, until --timeout is over.\n"
    "\n"
    "EXIT CODES\n"
    "    0  done                     4  data damaged (the daemon, restore)\n"
    "    1  failed                   5  no such key, or a condition did not\n"
    "    2  wrong usage                 hold\n"
    "    3  join refused (daemon)    6  no server could answer; nothing done\n"
    "                                7  unknown whether it was done\n"
    "\n"
    "ENVIRONMENT\n"
    "    CRAFTD_ADDR        servers to ask: host:port[,host:port...]\n"
    "    CRAFTD_TOKEN_FILE  file with the token to send, for servers with\n"
    "                       --auth; --netrc has precedence\n"
    "    CRAFTD_USER        user:password to send; the two above have\n"
    "                       precedence\n"
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
    "    Prints the value of KEY, byte for byte. On a terminal alone, a line\n"
    "    break follows a value that does not end with one. Nothing is printed\n"
    "    before all of the value is there.\n"
    "\n"
    "OPTIONS\n"
    "    --meta               value, index and more as JSON instead\n" LEVEL
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
    "    of stdin, to its last byte. When the command ends with 0, the value\n"
    "    is on the disks of a majority.\n"
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
    "    Afterwards there is no KEY. That there was none is no failure.\n"
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
    "    spoil a line are written as %XX in both. Keys are fetched in pages "
    "of\n"
    "    1000; one page is one moment of the database, two pages are two. No\n"
    "    match is no failure.\n"
    "\n"
    "OPTIONS\n"
    "    --keys               keys alone\n"
    "    --limit N            at most N lines\n" LEVEL REACH "\n"
    "EXIT CODES\n" CODES AWAY "\n"
    "EXAMPLES\n"
    "    craftd ls svc/\n"
    "    craftd ls --keys tmp/ | while read -r key; do ...; done\n";

const char help_txn[] =
    "NAME\n"
    "    craftd txn - several operations, all or none\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd txn [FILE|-]\n"
    "\n"
    "DESCRIPTION\n"
    "    Sends the transaction in FILE, or on stdin, and prints the answer:\n"
    "    JSON with \"ok\", \"index\" and \"results\". A transaction is an "
    "object\n"
    "    with the lists \"if\" (conditions), \"then\" and, if wanted, "
    "\"else\".\n"
    "\n"
    "OPTIONS\n" REACH "\n"
    "EXIT CODES\n" CODES "    5  the conditions did not hold; \"else\" was "
    "done, if there is one\n" AWAY UNKNOWN "\n"
    "EXAMPLES\n"
    "    craftd txn <<'END'\n"
    "    {\"if\":   [{\"key\": \"a\", \"value\": \"1\"}],\n"
    "     \"then\": [{\"put\": \"a\", \"value\": \"2\"}, {\"delete\": "
    "\"b\"}]}\n"
    "    END\n";

const char help_status[] =
    "NAME\n"
    "    craftd status - what a node says of itself\n"
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
    "    --json               as the server sends it\n" REACH "\n"
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
    "    \"down\" as the node that answers sees it.\n"
    "\n"
    "OPTIONS\n"
    "    --json               as the server sends it\n" REACH "\n"
    "EXIT CODES\n" CODES AWAY "\n"
    "EXAMPLES\n"
    "    craftd nodes | column -t\n";

const char help_leader[] =
    "NAME\n"
    "    craftd leader - who leads, or move the leadership\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd leader [--json] [ID]\n"
    "\n"
    "DESCRIPTION\n"
    "    Prints the leader's id, Raft address and HTTP address, with TABs\n"
    "    between. With ID, that node is made the leader; nothing is printed.\n"
    "\n"
    "OPTIONS\n"
    "    --json               as the server sends it\n" REACH "\n"
    "EXIT CODES\n" CODES "    5  there is no node ID\n" AWAY UNKNOWN "\n"
    "EXAMPLES\n"
    "    craftd leader | cut -f1\n"
    "    craftd leader node2\n";

const char help_backup[] =
    "NAME\n"
    "    craftd backup - fetch the database\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd backup [--stale] FILE|-\n"
    "\n"
    "DESCRIPTION\n"
    "    Writes a consistent copy of the database, while the cluster goes on,\n"
    "    to FILE, or to stdout for \"-\". It is a SQLite file; craftd restore\n"
    "    makes a cluster of it. It is written under another name beside FILE\n"
    "    (FILE.part-RANDOM), synced, and put in the place of FILE when it is\n"
    "    complete, and not before. On stdout, only the exit code tells. A\n"
    "    server leaves readers that take less than a megabyte a second: in\n"
    "    front of something slow, put a file.\n"
    "\n"
    "OPTIONS\n"
    "    --stale              as the server has it, also without a "
    "leader\n" REACH
    "                         (here: to begin, and between any two pieces)\n"
    "\n"
    "EXIT CODES\n" CODES AWAY "\n"
    "EXAMPLES\n"
    "    craftd backup \"/backup/craftd-$(date +%F).db\"\n"
    "    craftd backup - | gzip -1 >craftd.db.gz\n";

const char help_restore[] =
    "NAME\n"
    "    craftd restore - replace all data of a cluster by a backup's\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd restore --addr ADDR[,ADDR...] FILE    of a running cluster\n"
    "    craftd restore FILE [FLAGS] DIR              a new cluster in DIR\n"
    "\n"
    "DESCRIPTION\n"
    "    With --addr: sends FILE, which craftd backup has fetched, to a node.\n"
    "    When all of it has been looked at and has reached the cluster, it\n"
    "    takes the place of everything that is there, at once: nobody sees a\n"
    "    part of it. Reads and writes go on until then and after; what was\n"
    "    written meanwhile is replaced as well. Indexes go on, so that every\n"
    "    key has a new one. Meanwhile both take space: --max-db must have "
    "room\n"
    "    for both. Prints the index and the number of keys.\n"
    "\n"
    "    CRAFTD_ADDR does not count here: whose data is to go has to be said.\n"
    "    Without --addr: see craftd help restore.\n"
    "\n"
    "OPTIONS\n" REACH "                         (here: for each step of it)\n"
    "\n"
    "EXIT CODES\n" CODES AWAY UNKNOWN "\n"
    "EXAMPLES\n"
    "    craftd restore --addr localhost:11000 backup.db\n";

const char help_bench_disk[] =
    "NAME\n"
    "    craftd bench-disk - how fast the disk syncs\n"
    "\n"
    "SYNOPSIS\n"
    "    craftd bench-disk [--time TIME] DIR\n"
    "\n"
    "DESCRIPTION\n"
    "    Measures, in DIR, what a node asks of its disk: 4096-byte writes "
    "into\n"
    "    a filled file, each followed by fdatasync (every acknowledged write\n"
    "    waits for one), and sequential writes. It takes 64 MiB of space for\n"
    "    as long as it runs, and leaves nothing behind. A disk that claims a\n"
    "    few microseconds for a sync does not sync.\n"
    "\n"
    "OPTIONS\n"
    "    --time TIME          for the syncs (3s), half of it for the rest\n"
    "\n"
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
    "\n"
    "DESCRIPTION\n"
    "    Prints two lines: an object for the file, with the hash of a new\n"
    "    token, and the token, 256 random bits in hexadecimal. The token is\n"
    "    nowhere else. Programs send it as \"Authorization: Bearer TOKEN\".\n"
    "\n" PERMS "\n"
    "EXIT CODES\n" CODES "\n"
    "EXAMPLES\n"
    "    craftd token join >line-and-token\n"
    "    craftd --auth auth.json --join-token-file token ...\n";

const char help_version[] = "NAME\n"
                            "    craftd version - print the version\n"
                            "\n"
                            "SYNOPSIS\n"
                            "    craftd version\n"
                            "\n"
                            "DESCRIPTION\n"
                            "    Of this program. That of a node is in craftd "
                            "status.\n";

const char help_help[] = "NAME\n"
                         "    craftd help - how to use it\n"
                         "\n"
                         "SYNOPSIS\n"
                         "    craftd help [COMMAND]\n"
                         "\n"
                         "DESCRIPTION\n"
                         "    Prints the list of commands, or the page of one. "
                         "The same page:\n"
                         "    craftd COMMAND --help. The flags of the daemon: "
                         "craftd --help.\n";
