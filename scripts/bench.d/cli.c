// The life of one container by a runtime's command line: create, start, wait for its end, delete.
// `cli BUNDLE RUNTIME [OPTIONS]` does it once and prints the milliseconds. It is the subreaper of what the
// runtime starts, so that it waits for the container itself instead of asking for its state.
#include <err.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void wait_for(pid_t pid, const char *what) {
    int status;
    if (waitpid(pid, &status, 0) < 0 || status != 0) errx(1, "%s failed with wait status %#x", what, status);
}

// run RUNTIME with its OPTIONS, then the words of the operation.
static void run(char **runtime, char **operation) {
    char *words[64];
    int n = 0;
    pid_t pid;
    while (*runtime && n < 32) words[n++] = *runtime++;
    for (char **word = operation; *word; word++) words[n++] = *word;
    words[n] = NULL;
    if (posix_spawnp(&pid, words[0], NULL, NULL, words, environ)) errx(1, "cannot run %s", words[0]);
    wait_for(pid, operation[0]);
}

int main(int argc, char **argv) {
    struct timespec began, ended;
    char id[32], pid_file[4096];
    int pid;
    if (argc < 3) errx(2, "usage: cli BUNDLE RUNTIME [OPTIONS]");
    snprintf(id, sizeof id, "carob-bench-%d", getpid());
    snprintf(pid_file, sizeof pid_file, "%s/pid-%d", argv[1], getpid());
    if (prctl(PR_SET_CHILD_SUBREAPER, 1)) err(1, "PR_SET_CHILD_SUBREAPER");

    clock_gettime(CLOCK_MONOTONIC, &began);
    run(argv + 2, (char *[]){"create", "--bundle", argv[1], "--pid-file", pid_file, id, NULL});
    run(argv + 2, (char *[]){"start", id, NULL});
    FILE *file = fopen(pid_file, "r");
    if (!file || fscanf(file, "%d", &pid) != 1) errx(1, "no process id in %s", pid_file);
    wait_for(pid, "the container");
    run(argv + 2, (char *[]){"delete", id, NULL});
    clock_gettime(CLOCK_MONOTONIC, &ended);

    fclose(file);
    unlink(pid_file);
    printf("%.3f\n", (ended.tv_sec - began.tv_sec) * 1e3 + (ended.tv_nsec - began.tv_nsec) / 1e6);
}
