/* A compliance server for measurements: it answers every event with PASS after a time, those due together in random order; with a RATE, one after the other,
 * so many a second at most.
 *     PASSWORD=secret ./late_server PORT COMPONENT DELAY_MS [RATE] */
#include <pthread.h>
#include <signet/compliance.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_WAITING 65536u
struct waiting {
    struct signet_event *event;
    uint64_t due_us;
};
static struct waiting ring[MAX_WAITING];
static unsigned first, last; /* free-running */
static uint64_t delay_us, each_us, last_us; /* each_us: what one event costs, 0 nothing; last_us: when the last one is done */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void on_event(struct signet_event *event, void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    uint64_t due_us = now_us() + delay_us;
    if (each_us > 0 && due_us < last_us + each_us) due_us = last_us + each_us;
    last_us = due_us;
    if (last - first < MAX_WAITING)
        ring[last++ % MAX_WAITING] = (struct waiting){event, due_us};
    else
        abort(); /* the library lets far fewer wait */
    pthread_mutex_unlock(&lock);
}

static void *answer_all(void *arg)
{
    (void)arg;
    static struct signet_event *due[MAX_WAITING];
    unsigned seed = 1;
    for (;;) {
        unsigned n = 0;
        struct timespec pause = {.tv_nsec = 2000000};
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&lock);
        while (first != last && ring[first % MAX_WAITING].due_us <= now_us()) due[n++] = ring[first++ % MAX_WAITING].event;
        pthread_mutex_unlock(&lock);
        for (; n > 0; n--) {
            unsigned i = (unsigned)rand_r(&seed) % n;
            signet_pass(due[i]);
            due[i] = due[n - 1];
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5 || getenv("PASSWORD") == NULL) return 2;
    char address[64];
    snprintf(address, sizeof(address), "127.0.0.1:%s", argv[1]);
    delay_us = strtoull(argv[3], NULL, 10) * 1000;
    if (argc > 4) each_us = 1000000 / strtoull(argv[4], NULL, 10);
    struct signet_server *s = signet_new();
    signet_on_log(s, signet_log_stderr, NULL);
    signet_set_limit(s, SIGNET_LIMIT_EVENTS, MAX_WAITING / 2);
    if (signet_on_event(s, NULL, on_event, NULL) < 0 || signet_component(s, argv[2], getenv("PASSWORD")) < 0 || signet_listen(s, address, NULL) < 0 ||
        signet_start(s) < 0) {
        fprintf(stderr, "late_server: %s\n", signet_error(s));
        return 1;
    }
    printf("port %u\n", signet_port(s, 0));
    fflush(stdout);
    pthread_t thread;
    if (pthread_create(&thread, NULL, answer_all, NULL) != 0) return 1;
    pthread_join(thread, NULL);
    return 0;
}
