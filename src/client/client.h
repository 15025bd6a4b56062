/* client.h -- the commands that talk to a running cluster, over the HTTP API
 * like anybody else: get, put, del, ls, txn, status, nodes, leader, backup;
 * and bench-disk, version and help, which talk to nobody.
 *
 * One process, one command, blocking calls with time-outs; nothing here runs
 * inside the daemon. `craftd help` is the manual, exit codes included. */
#ifndef CRAFTD_CLIENT_CLIENT_H
#define CRAFTD_CLIENT_CLIENT_H

/* The exit code; -1: argv[1] is none of these commands. Touches nothing
 * before it knows. `version` is without the name. */
int client_main(int argc, char **argv, const char *version);

/* The command that `word` was meant to be, for "did you mean": by its spelling,
 * or another program's name for it. NULL: nothing comes near. */
const char *client_command_like(const char *word);

#endif
