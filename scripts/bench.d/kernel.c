// What the kernel alone asks for one container: namespaces, cgroups, mounts, pivot_root, exec of /bin/true,
// wait, removal, by system calls and nothing else. `kernel ROOTFS` does it once and prints the milliseconds.
// The namespaces, mounts, devices, masked and read-only paths are those of scripts/bench's bundle.
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// must(x) is a system call that has no reason to fail.
#define must(call) ((call) == -1 ? err(1, "%s", #call) : (void)0)

static char *hierarchies[32]; // where each cgroup hierarchy is mounted
static int hierarchy_count;

static void find_hierarchies(void) {
    char device[256], dir[256], type[64], options[512];
    FILE *mounts = fopen("/proc/self/mounts", "r");
    if (!mounts) err(1, "/proc/self/mounts");
    int v2 = -1;
    while (fscanf(mounts, "%255s %255s %63s %511s %*d %*d", device, dir, type, options) == 4 && hierarchy_count < 32)
        // Those with a name instead of controllers (systemd) limit nothing.
        if ((!strcmp(type, "cgroup") && !strstr(options, "name=")) || !strcmp(type, "cgroup2")) {
            if (!strcmp(type, "cgroup2")) v2 = hierarchy_count;
            hierarchies[hierarchy_count++] = strdup(dir);
        }
    fclose(mounts);
    // Beside v1 hierarchies, the v2 one has nothing to limit: left out, as the bundle's runtimes do.
    if (v2 >= 0 && hierarchy_count > 1) hierarchies[v2] = hierarchies[--hierarchy_count];
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) err(1, "%s", path);
    close(fd);
}

static void copy_file(const char *from, const char *to) {
    char text[256];
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n < 0) err(1, "%s", from);
    close(fd);
    text[n] = 0;
    write_file(to, text);
}

static void enter_cgroups(const char *name, pid_t pid) {
    char path[600], from[600], number[32];
    snprintf(number, sizeof number, "%d", pid);
    for (int i = 0; i < hierarchy_count; i++) {
        snprintf(path, sizeof path, "%s/%s", hierarchies[i], name);
        must(mkdir(path, 0755));
        for (const char **f = (const char *[]){"cpuset.cpus", "cpuset.mems", NULL}; *f; f++) {
            snprintf(from, sizeof from, "%s/%s", hierarchies[i], *f);
            snprintf(path, sizeof path, "%s/%s/%s", hierarchies[i], name, *f);
            // Version 1: a new cpuset is empty, and an empty one takes no process.
            if (access(from, F_OK) == 0) copy_file(from, path);
        }
        snprintf(path, sizeof path, "%s/%s/cgroup.procs", hierarchies[i], name);
        write_file(path, number);
    }
}

static void remove_cgroups(const char *name) {
    char path[600];
    for (int i = 0; i < hierarchy_count; i++) {
        snprintf(path, sizeof path, "%s/%s", hierarchies[i], name);
        must(rmdir(path));
    }
}

static void mount_cgroups(const char *name) {
    char from[600], to[600];
    must(mount("tmpfs", "sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=755"));
    for (int i = 0; i < hierarchy_count; i++) {
        snprintf(from, sizeof from, "%s/%s", hierarchies[i], name);
        snprintf(to, sizeof to, "sys/fs/cgroup%s", strrchr(hierarchies[i], '/'));
        must(mkdir(to, 0755));
        must(mount(from, to, NULL, MS_BIND, NULL));
        must(mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
    }
    must(mount(NULL, "sys/fs/cgroup", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=755"));
}

static void make_devices(void) {
    static const struct { const char *name; int minor_number; } devices[] = {
        {"dev/null", 3}, {"dev/zero", 5}, {"dev/full", 7}, {"dev/random", 8}, {"dev/urandom", 9}};
    umask(0);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        must(mknod(devices[i].name, S_IFCHR | 0666, makedev(1, devices[i].minor_number)));
    must(mknod("dev/tty", S_IFCHR | 0666, makedev(5, 0)));
    must(symlink("/proc/self/fd", "dev/fd"));
    must(symlink("/proc/self/fd/0", "dev/stdin"));
    must(symlink("/proc/self/fd/1", "dev/stdout"));
    must(symlink("/proc/self/fd/2", "dev/stderr"));
    must(symlink("pts/ptmx", "dev/ptmx"));
}

static void hide_paths(void) {
    static const char *masked[] = {"proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats",
        "proc/timer_list", "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi", NULL};
    static const char *read_only[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger", NULL};
    for (const char **path = masked; *path; path++)
        if (mount("/dev/null", *path, NULL, MS_BIND, NULL) == -1) {
            if (errno == ENOTDIR) must(mount("tmpfs", *path, "tmpfs", MS_RDONLY, "size=0k"));
            else if (errno != ENOENT) err(1, "%s", *path);
        }
    for (const char **path = read_only; *path; path++) {
        if (access(*path, F_OK) == -1) continue;
        must(mount(*path, *path, NULL, MS_BIND | MS_REC, NULL));
        must(mount(NULL, *path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
    }
}

static void container(const char *rootfs, const char *name, int go) {
    const unsigned long quiet = MS_NOSUID | MS_NOEXEC | MS_NODEV;
    char c;
    must(read(go, &c, 1));
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    must(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
    must(chdir(rootfs));
    must(mount("proc", "proc", "proc", 0, NULL));
    must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
    for (const char **dir = (const char *[]){"dev/pts", "dev/shm", "dev/mqueue", NULL}; *dir; dir++)
        must(mkdir(*dir, 0755));
    must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
    must(mount("shm", "dev/shm", "tmpfs", quiet, "mode=1777,size=65536k"));
    must(mount("mqueue", "dev/mqueue", "mqueue", quiet, NULL));
    must(mount("sysfs", "sys", "sysfs", quiet | MS_RDONLY, NULL));
    mount_cgroups(name);
    make_devices();
    hide_paths();
    must(mount(NULL, rootfs, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
    must(chdir(rootfs));
    must(sethostname("bench", 5));
    must(syscall(SYS_pivot_root, ".", "."));
    must(umount2(".", MNT_DETACH));
    must(chdir("/"));
    execl("/bin/true", "true", (char *)NULL);
    err(1, "/bin/true");
}

int main(int argc, char **argv) {
    struct timespec began, ended;
    char name[64], rootfs[4096];
    int go[2], status;
    if (argc != 2 || !realpath(argv[1], rootfs)) errx(2, "usage: kernel ROOTFS");
    find_hierarchies();
    snprintf(name, sizeof name, "carob-bench-%d", getpid());

    clock_gettime(CLOCK_MONOTONIC, &began);
    must(pipe2(go, O_CLOEXEC));
    pid_t pid = syscall(SYS_clone,
        CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
    must(pid);
    if (pid == 0) container(rootfs, name, go[0]);
    enter_cgroups(name, pid);
    must(write(go[1], "", 1));
    must(waitpid(pid, &status, 0));
    remove_cgroups(name);
    clock_gettime(CLOCK_MONOTONIC, &ended);

    if (status != 0) errx(1, "the container ended with wait status %#x", status);
    printf("%.3f\n", (ended.tv_sec - began.tv_sec) * 1e3 + (ended.tv_nsec - began.tv_nsec) / 1e6);
}
