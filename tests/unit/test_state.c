/* state: legal moves are made and counted, illegal ones stop a debug build and are refused by others. */
#include "unit.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metric.h"
#include "base/state.h"

enum { CLOSED, OPENING, OPEN, STATES };
static const char *const names[] = {"CLOSED", "OPENING", "OPEN"};
static const unsigned moves[] = {[CLOSED] = 1U << OPENING, [OPENING] = 1U << OPEN | 1U << CLOSED, [OPEN] = 1U << CLOSED};
static const struct state_machine door = {"door", names, moves, STATES};

static void test_legal_moves(void **state)
{
    UNIT_UNUSED(state);
    unsigned s = CLOSED;
    int64_t before = metric_read(METRIC_STATE_MOVES);
    assert_true(state_move(&door, "front", &s, OPENING));
    assert_int_equal(s, OPENING);
    assert_true(state_move(&door, "front", &s, OPEN));
    assert_true(state_move(&door, "front", &s, CLOSED));
    assert_int_equal(metric_read(METRIC_STATE_MOVES), before + 3);
}

static void test_names(void **state)
{
    UNIT_UNUSED(state);
    assert_string_equal(state_name(&door, OPENING), "OPENING");
    assert_string_equal(state_name(&door, 17), "?");
}

static void test_illegal_move(void **state)
{
    UNIT_UNUSED(state);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        /* An abort is what we want to see; no report of it, no core file. */
        if (freopen("/dev/null", "w", stderr) == NULL) _exit(3);
        unsigned s = CLOSED;
        bool moved = state_move(&door, "front", &s, OPEN);
        _exit(!moved && s == CLOSED ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
#ifdef NDEBUG
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
#else
    assert_true(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 2));
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_legal_moves),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_illegal_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
