/* replay.c -- a main() for a fuzz target without libFuzzer: feeds it every
 * file of the given directories, so that corpora are tests for any compiler.
 *
 *     replay_NAME NAME DIRECTORY... */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    if (!data || fread(data, 1, (size_t)size, file) != (size_t)size) {
        perror(path);
        exit(1);
    }
    fclose(file);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 2; i < argc; i++) {
        DIR *directory = opendir(argv[i]);
        if (!directory) {
            continue; /* No findings yet. */
        }
        struct dirent *entry;
        while ((entry = readdir(directory)) != NULL) {
            if (entry->d_name[0] == '.') {
                continue;
            }
            char path[4096];
            snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
            feed(path);
            count++;
        }
        closedir(directory);
    }
    printf("replay %s: %u inputs\n", argc > 1 ? argv[1] : "?", count);
    if (count == 0) {
        fprintf(stderr, "replay: an empty corpus tests nothing\n");
        return 1;
    }
    return 0;
}
