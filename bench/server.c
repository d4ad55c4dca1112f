/* See server.h. CPU time is that of /proc/PID/stat: the kernel scales it from the scheduler's exact account, in steps of 10 ms. */
#include "server.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct process {
    pid_t pid, parent;
    uint64_t ticks;
};

/* The numbers behind "pid (name)", whose name may hold anything. */
static bool read_stat(pid_t pid, struct process *p)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *rest = strrchr(text, ')');
    unsigned long ticks[4]; /* user, system, and those of ended children */
    int parent;
    if (rest == NULL) return false;
    int got = sscanf(rest + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu", &parent, &ticks[0], &ticks[1], &ticks[2], &ticks[3]);
    if (got != 5) return false;
    *p = (struct process){.pid = pid, .parent = parent, .ticks = ticks[0] + ticks[1] + ticks[2] + ticks[3]};
    return true;
}

/* All processes; malloc'ed. */
static struct process *read_all(size_t *n)
{
    size_t room = 256;
    struct process *all = x_malloc(room * sizeof *all);
    DIR *dir = opendir("/proc");
    *n = 0;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9') continue;
        if (*n == room) all = x_realloc(all, (room *= 2) * sizeof *all);
        if (read_stat((pid_t)strtol(e->d_name, NULL, 10), &all[*n])) ++*n;
    }
    if (dir != NULL) closedir(dir);
    return all;
}

static bool descends(const struct process *all, size_t n, const struct process *p, pid_t from)
{
    for (unsigned depth = 0; depth < 64; depth++) {
        if (p->pid == from) return true;
        size_t i = 0;
        while (i < n && all[i].pid != p->parent) i++;
        if (i == n) return false;
        p = &all[i];
    }
    return false;
}

static void add_memory(pid_t pid, struct usage *u)
{
    char path[64], line[200];
    unsigned long long kb;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "Rss: %llu kB", &kb) == 1) u->rss_bytes += kb * 1024;
        if (sscanf(line, "Pss: %llu kB", &kb) == 1) u->pss_bytes += kb * 1024;
    }
    if (f != NULL) {
        fclose(f);
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    f = fopen(path, "re");
    if (f != NULL && fscanf(f, "%*u %llu", &kb) == 1) u->rss_bytes += kb * (unsigned long long)sysconf(_SC_PAGESIZE);
    if (f != NULL) fclose(f);
}

void server_read(const struct options *o, bool memory, struct usage usage[SERVERS_MAX])
{
    size_t n;
    struct process *all = o->n_servers == 0 ? NULL : read_all(&n);
    for (unsigned s = 0; s < o->n_servers; s++) {
        usage[s] = (struct usage){0};
        for (size_t i = 0; i < n; i++) {
            if (!descends(all, n, &all[i], o->servers[s].pid)) continue;
            usage[s].processes++;
            usage[s].cpu_us += (double)all[i].ticks * 1e6 / (double)sysconf(_SC_CLK_TCK);
            if (memory) add_memory(all[i].pid, &usage[s]);
        }
    }
    free(all);
}
