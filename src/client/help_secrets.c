/* help_secrets.c -- pages of users, tokens and keys. */
#include "client/help_internal.h"

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
