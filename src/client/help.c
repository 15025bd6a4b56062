/* help.c -- the manual of the commands. */
#include "client/client_internal.h"

#define REACH                                                                  \
    "    --addr ADDR[,ADDR]   servers to ask, host:port, in this order\n"      \
    "                         (CRAFTD_ADDR, else localhost:11000)\n"           \
    "    --timeout TIME       how long a server may take: 250ms, 5s (10s)\n"

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
    "  of a data directory whose node does not run:\n"
    "    restore FILE [FLAGS] DIR    a new cluster from a backup\n"
    "    recover [FLAGS] DIR         when a majority is lost for ever\n"
    "  of this machine:\n"
    "    bench-disk DIR              how fast the disk syncs\n"
    "    version                     print the version\n"
    "    help [COMMAND]              this, or the page of a command\n"
    "\n"
    "DESCRIPTION\n"
    "    The commands are clients of the HTTP API. They print what was asked\n"
    "    for on stdout and nothing else, and explain failures on stderr.\n"
    "    Flags have one dash or two, '=' or a blank before their value, and\n"
    "    may stand anywhere; \"--\" goes before words that begin with a dash.\n"
    "    A node whose directory has the name of a command: craftd ./get\n"
    "\n"
    "    Several servers are asked in turn, as long as it is certain that\n"
    "    nothing was done. Any node answers for the whole cluster.\n"
    "\n"
    "EXIT CODES\n"
    "    0  done                     4  data damaged (the daemon, restore)\n"
    "    1  failed                   5  no such key, or a condition did not\n"
    "    2  wrong usage                 hold\n"
    "    3  join refused (daemon)    6  no server could answer; nothing done\n"
    "                                7  unknown whether it was done\n"
    "\n"
    "ENVIRONMENT\n"
    "    CRAFTD_ADDR  servers to ask: host:port[,host:port...]\n"
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
    "    (FILE.part-PID), synced, and put in the place of FILE when it is\n"
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
