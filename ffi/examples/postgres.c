/*
 * Sends queries with libpq through the mesh in two ways: over a Unix socket like that of a local server, and to a loopback
 * address.
 *
 *     postgres VM-FILES [HOST PORT [OPTIONS [QUERY]]]
 *     cc postgres.c $(pkg-config --cflags --libs sidestep libpq)
 *
 * OPTIONS are options of libpq, such as "user=me dbname=orders". The mesh and the bridge run in this process. The bridge serves
 * only this process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <libpq-fe.h>
#include <sidestep.h>

static int ask(const char *way, const char *options, const char *query) {
    PGconn *server = PQconnectdb(options);
    PGresult *result = NULL;
    int failed = PQstatus(server) != CONNECTION_OK;
    if (!failed) {
        result = PQexec(server, query);
        failed = PQresultStatus(result) != PGRES_TUPLES_OK;
    }
    if (failed) {
        fprintf(stderr, "%s: %s", way, PQerrorMessage(server));
    } else {
        printf("%s: %s\n", way, PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "nothing");
    }
    PQclear(result);
    PQfinish(server);
    return failed;
}

int main(int argc, char **argv) {
    const char *host = argc > 2 ? argv[2] : "ledger.payments.example";
    uint16_t port = argc > 3 ? (uint16_t)atoi(argv[3]) : 5432, local_port = 0;
    const char *options = argc > 4 ? argv[4] : "user=postgres dbname=postgres";
    const char *query = argc > 5 ? argv[5] : "select version()";
    sidestep_mesh *mesh = NULL;
    sidestep_bridge *bridge = NULL;
    sidestep_error *error = NULL;
    char folder[] = "/tmp/sidestep-XXXXXX", address[SIDESTEP_ADDRESS_SIZE], by_socket[512], by_address[512];
    int failed = -1;

    if (argc < 2 || !mkdtemp(folder)) {
        fprintf(stderr, "usage: %s VM-FILES [HOST PORT [OPTIONS [QUERY]]]\n", argv[0]);
        return EXIT_FAILURE;
    }
    if (sidestep_join_vm_files(argv[1], &mesh, &error) || sidestep_wait_ready(mesh, 30000, &error) ||
        sidestep_bridge_start(mesh, SIDESTEP_ACCESS_SAME_PROCESS, &bridge, &error) ||
        sidestep_bridge_listen_postgres(bridge, folder, host, port, &error) ||
        sidestep_bridge_listen_local(bridge, host, port, SIDESTEP_PROTOCOL_TCP, address, &local_port, &error)) {
        fprintf(stderr, "%s\n%s\n", sidestep_error_message(error), sidestep_error_next_step(error));
    } else {
        /* sslmode=disable: the mesh encrypts the connection already. */
        snprintf(by_socket, sizeof by_socket, "%s connect_timeout=30 host=%s port=%u", options, folder, port);
        snprintf(by_address, sizeof by_address, "%s connect_timeout=30 host=%s hostaddr=%s port=%u sslmode=disable",
                 options, host, address, local_port);
        failed = ask("by unix socket", by_socket, query) || ask("by address", by_address, query);
    }
    sidestep_bridge_free(bridge);
    sidestep_error_free(error);
    sidestep_mesh_free(mesh);
    rmdir(folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
