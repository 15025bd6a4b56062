/* client.h -- the commands: those that use a running cluster through its HTTP
 * API, as any client does (get, put, del, ls, txn, watch, lock, elect, status,
 * nodes, leader, backup, restore --addr), and those that need none (bench-disk,
 * passwd, token, keygen, version, help).
 *
 * A process runs one command, with blocking calls that have time-outs; nothing
 * here runs inside the daemon. `craftd help` is the manual, with exit codes. */
#ifndef CRAFTD_CLIENT_CLIENT_H
#define CRAFTD_CLIENT_CLIENT_H

/* Run the command argv[1]. Returns the exit code of the process, or -1, without
 * any effect, if argv[1] is none of the commands. `version` is the bare version
 * of the program. */
int client_main(int argc, char **argv, const char *version);

/* The command that `word` probably means, for "did you mean": one of similar
 * spelling, or that has this name in another program. A constant; NULL: there
 * is none. */
const char *client_command_like(const char *word);

#endif
