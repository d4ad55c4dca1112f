/* Who makes way at the door: by rule in a few cases, and in many random ones against a plain model of the rule. */
#include "unit.h"
#include "xmpp/door.h"
#include <stdio.h>

enum { PLACES = 64 };

static struct str address_of(unsigned i)
{
    static char names[26][2];
    names[i % 26][0] = (char)('a' + i % 26);
    return (struct str){names[i % 26], 1};
}

static void test_room(void **state)
{
    UNIT_UNUSED(state);
    struct door d = {0};
    struct door_place p[3] = {0};
    assert_null(door_enter(&d, STR("a"), &p[0])); /* closed: nobody is counted */
    assert_null(p[0].group);
    door_open(&d, 2);
    assert_null(door_enter(&d, STR("a"), &p[0]));
    assert_null(door_enter(&d, STR("b"), &p[1]));
    assert_int_equal(d.n, 2);
    assert_ptr_equal(door_enter(&d, STR("c"), &p[2]), &p[2]); /* all take alike: who came first stays */
    assert_null(p[2].group);
    door_leave(&d, &p[2]); /* it does not stand there */
    door_leave(&d, &p[0]);
    door_leave(&d, &p[0]);
    assert_int_equal(d.n, 1);
    assert_null(door_enter(&d, STR("c"), &p[2]));
    door_leave(&d, &p[1]);
    door_leave(&d, &p[2]);
    assert_int_equal(d.groups.count, 0);
    door_close(&d);
}

static void test_flood_makes_way(void **state)
{
    UNIT_UNUSED(state);
    struct door d = {0};
    struct door_place flood[6] = {0}, a = {0}, b = {0}, c = {0};
    door_open(&d, 4);
    for (unsigned i = 0; i < 4; i++) assert_null(door_enter(&d, STR("flood"), &flood[i]));
    assert_ptr_equal(door_enter(&d, STR("flood"), &flood[4]), &flood[4]); /* its own newcomers find no room */
    assert_ptr_equal(door_enter(&d, STR("a"), &a), &flood[0]);           /* others do: its oldest goes */
    assert_ptr_equal(door_enter(&d, STR("b"), &b), &flood[1]);
    assert_int_equal(d.largest, 2);
    assert_ptr_equal(door_enter(&d, STR("c"), &c), &flood[2]);
    assert_ptr_equal(door_enter(&d, STR("flood"), &flood[5]), &flood[5]);
    assert_int_equal(d.largest, 1);
    struct door_place *left[] = {&flood[3], &a, &b, &c};
    for (unsigned i = 0; i < 4; i++) {
        assert_non_null(left[i]->group);
        door_leave(&d, left[i]);
    }
    assert_int_equal(d.n, 0);
    door_close(&d);
}

/* The model: who stands there, with address and time of coming. */
static void test_random(void **state)
{
    UNIT_UNUSED(state);
    struct door d = {0};
    struct door_place p[PLACES] = {0};
    unsigned address[PLACES], came[PLACES], count[8] = {0}, room = 20, n = 0, evictions = 0;
    uint64_t seed = 88172645463325252U;
    bool there[PLACES] = {0};
    door_open(&d, room);
    for (unsigned t = 1; t < 20000; t++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        unsigned i = (unsigned)(seed >> 8) % PLACES, who = (unsigned)(seed >> 20) % 8 * ((seed >> 30) % 3 != 0);
        if (there[i]) {
            door_leave(&d, &p[i]);
            there[i] = false;
            count[address[i]]--;
            n--;
        } else {
            unsigned most = 0;
            for (unsigned a = 0; a < 8; a++) most = count[a] > most ? count[a] : most;
            struct door_place *out = door_enter(&d, address_of(who), &p[i]);
            if (n < room) {
                assert_null(out);
            } else if (most <= count[who] + 1) {
                assert_ptr_equal(out, &p[i]);
                continue;
            } else {
                unsigned gone = (unsigned)(out - p);
                assert_true(there[gone] && count[address[gone]] == most);
                for (unsigned j = 0; j < PLACES; j++) assert_false(there[j] && address[j] == address[gone] && came[j] < came[gone]);
                there[gone] = false;
                count[address[gone]]--;
                n--;
                evictions++;
            }
            there[i] = true;
            address[i] = who;
            came[i] = t;
            count[who]++;
            n++;
        }
        assert_int_equal(d.n, n);
        assert_true(n <= room);
    }
    assert_true(evictions > 100);
    for (unsigned i = 0; i < PLACES; i++) door_leave(&d, &p[i]);
    assert_int_equal(d.groups.count, 0);
    door_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_room), cmocka_unit_test(test_flood_makes_way), cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
