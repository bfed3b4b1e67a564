/* test_search_dbscan.c - density clustering against cases made by hand. */
#include "check_main.h"
#include "dbscan.h"

#define N DBSCAN_NOISE

static void check(const double *points, uint32_t n, uint32_t dims, double eps, uint32_t min_samples,
                  uint32_t clusters, const uint32_t *want)
{
    uint32_t label[16], work[32];
    ck_assert_uint_eq(dbscan(points, n, dims, eps, min_samples, label, work), clusters);
    for (uint32_t i = 0; i < n; i++) ck_assert_msg(label[i] == want[i], "point %u: %u", i, label[i]);
}

START_TEST(dbscan__finds_two_groups_and_what_belongs_to_none)
{
    const double x[] = {0.00, 0.30, 0.04, 0.33, 0.90, 0.02};
    const uint32_t want[] = {0, 1, 0, 1, DBSCAN_NOISE, 0};
    check(x, 6, 1, 0.05, 2, 2, want);
}
END_TEST

/* Each is near the next: one cluster, though its ends are far apart. */
START_TEST(dbscan__follows_chains)
{
    const double x[] = {0.16, 0.00, 0.12, 0.04, 0.08, 0.30};
    const uint32_t want[] = {0, 0, 0, 0, 0, DBSCAN_NOISE};
    check(x, 6, 1, 0.05, 2, 1, want);
}
END_TEST

START_TEST(dbscan__counts_eps_itself_as_near)
{
    const double x[] = {0, 0.5, 1.0, 1.75};
    const uint32_t want[] = {0, 0, 0, DBSCAN_NOISE},
                   none[] = {DBSCAN_NOISE, DBSCAN_NOISE, DBSCAN_NOISE, DBSCAN_NOISE};
    check(x, 4, 1, 0.5, 2, 1, want);
    check(x, 4, 1, 0.49, 2, 0, none);
}
END_TEST

/* With three samples 1 and 2 are core points; 0 and 3 have but one neighbour and join as borders, and 3 does not
 * carry the cluster on to 4.5. With four samples 1 and 3 are the cores of two clusters; 2, near both, goes to the
 * first. */
START_TEST(dbscan__borders_join_and_do_not_spread)
{
    const double x[] = {0, 1, 2, 3, 4};
    check(x, 5, 1, 1, 3, 1, (const uint32_t[]){0, 0, 0, 0, 0});
    const double y[] = {0, 1, 2, 3, 4.5};
    check(y, 5, 1, 1, 3, 1, (const uint32_t[]){0, 0, 0, 0, N});
    const double z[] = {0, 0.5, 1, 2, 3, 3.5, 4};
    check(z, 7, 1, 1, 3, 1, (const uint32_t[]){0, 0, 0, 0, 0, 0, 0});
    check(z, 7, 1, 1, 4, 2, (const uint32_t[]){0, 0, 0, 0, 1, 1, 1});
    check(z, 7, 1, 1, 5, 0, (const uint32_t[]){N, N, N, N, N, N, N});
}
END_TEST

START_TEST(dbscan__measures_in_all_dimensions)
{
    const double x[] = {0, 0, 0.03, 0.04, 0.04, 0.04, 0, 0.06};
    const uint32_t want[] = {0, 0, 0, 0};
    check(x, 4, 2, 0.05, 2, 1, want);
    const double far[] = {0, 0, 0.04, 0.04};
    check(far, 2, 2, 0.05, 2, 0, (const uint32_t[]){N, N});
    check(far, 1, 2, 0.05, 2, 0, (const uint32_t[]){N});
    check(far, 1, 2, 0.05, 1, 1, (const uint32_t[]){0});
}
END_TEST

CHECK_MAIN("dbscan", dbscan__finds_two_groups_and_what_belongs_to_none, dbscan__follows_chains,
           dbscan__counts_eps_itself_as_near, dbscan__borders_join_and_do_not_spread,
           dbscan__measures_in_all_dimensions)
