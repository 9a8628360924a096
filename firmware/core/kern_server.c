/* SPDX-License-Identifier: MIT
 *
 * The registry of kernel servers: which records the image has, which of them are loaded on this
 * host. It does not know what a server does, and nothing in the core names one.
 *
 * Invariants: a server is loaded at most once a host; its load and unload commands run with no lock
 * held; an entry is in the list, marked `busy`, from before load() to after unload(), so that two
 * threads cannot load one server.
 */
#include <kernel/host.h>
#include <kernel/kern_server.h>
#include <kernel/link_manager.h>
#include <kernel/server_module.h>
#include <kernel/service.h>
#include <kernel/string.h>

struct kern_server_instance {
    const struct kern_server *server;
    struct kern_server_instance *next; /* loaded before this one */
    void *state;                       /* the server's own */
    bool busy;                         /* load() or unload() runs */
};

struct server_registry {
    struct lock lock; /* guards the list and `busy` */
    struct kern_server_instance *latest;
};

const struct kern_server *kern_server_find(const char *name)
{
    for (const struct kern_server *const *entry = __start_kern_servers;
         entry != __stop_kern_servers; entry++) {
        if (strcmp((*entry)->name, name) == 0) {
            return *entry;
        }
    }
    return NULL;
}

const struct phy_operations *kern_server_find_phy(const char *kind)
{
    for (const struct kern_server *const *entry = __start_kern_servers;
         entry != __stop_kern_servers; entry++) {
        const struct phy_operations *phy = (*entry)->phy;
        if (phy != NULL && strcmp(phy->kind, kind) == 0) {
            return phy;
        }
    }
    return NULL;
}

int kern_servers_initialize(struct mach_host *host)
{
    if (host->servers != NULL) {
        return ERROR_EXISTS;
    }
    struct server_registry *registry = heap_allocate(host, sizeof(*registry));
    if (registry == NULL) {
        return ERROR_NO_MEMORY;
    }
    *registry = (struct server_registry){.latest = NULL};
    lock_init(&registry->lock);
    host->servers = registry;
    return ERROR_NONE;
}

/* Caller holds the lock. */
static struct kern_server_instance *instance_find(struct server_registry *registry,
                                                  const char *name)
{
    struct kern_server_instance *instance = registry->latest;

    while (instance != NULL && strcmp(instance->server->name, name) != 0) {
        instance = instance->next;
    }
    return instance;
}

static int instance_insert(struct server_registry *registry, struct kern_server_instance *instance)
{
    int error = ERROR_EXISTS;

    lock_acquire(&registry->lock);
    if (instance_find(registry, instance->server->name) == NULL) {
        instance->next = registry->latest;
        registry->latest = instance;
        error = ERROR_NONE;
    }
    lock_release(&registry->lock);
    return error;
}

static void instance_remove(struct server_registry *registry, struct kern_server_instance *instance)
{
    lock_acquire(&registry->lock);
    struct kern_server_instance **link = &registry->latest;
    while (*link != instance) {
        link = &(*link)->next;
    }
    *link = instance->next;
    lock_release(&registry->lock);
}

static void instance_set_busy(struct server_registry *registry,
                              struct kern_server_instance *instance, bool busy)
{
    lock_acquire(&registry->lock);
    instance->busy = busy;
    lock_release(&registry->lock);
}

/* Enter a record and run its load command. */
static int record_load(struct mach_host *host, const struct kern_server *server)
{
    struct kern_server_instance *instance = heap_allocate(host, sizeof(*instance));

    if (instance == NULL) {
        return ERROR_NO_MEMORY;
    }
    *instance = (struct kern_server_instance){.server = server, .busy = true};
    int error = instance_insert(host->servers, instance);
    if (error != ERROR_NONE) {
        heap_free(host, instance);
        return error;
    }
    /* A record without a load command (a PHY driver) is loaded by its presence. */
    if (server->load != NULL) {
        error = server->load(host, &instance->state);
    }
    if (error != ERROR_NONE) {
        instance_remove(host->servers, instance);
        heap_free(host, instance);
        return error;
    }
    instance_set_busy(host->servers, instance, false);
    return ERROR_NONE;
}

int kern_server_load(struct mach_host *host, const char *name)
{
    const struct kern_server *server = kern_server_find(name);

    return server != NULL ? record_load(host, server) : ERROR_NOT_FOUND;
}

int kern_server_unload(struct mach_host *host, const char *name)
{
    struct server_registry *registry = host->servers;

    lock_acquire(&registry->lock);
    struct kern_server_instance *instance = instance_find(registry, name);
    bool found = instance != NULL && !instance->busy;
    bool can_unload = found && instance->server->unload != NULL;
    if (can_unload) {
        instance->busy = true;
    }
    lock_release(&registry->lock);
    if (!can_unload) {
        return found ? ERROR_UNSUPPORTED : ERROR_NOT_FOUND;
    }
    instance->server->unload(host, instance->state);
    instance_remove(registry, instance);
    heap_free(host, instance);
    return ERROR_NONE;
}

/* A loaded server's service port, retained: an unload may begin as soon as the lock is released.
 * Null: not loaded, or it has none. */
static struct port *service_port_of(struct server_registry *registry, const char *name)
{
    struct port *port = NULL;

    lock_acquire(&registry->lock);
    struct kern_server_instance *instance = instance_find(registry, name);
    if (instance != NULL && !instance->busy && instance->server->service_port != NULL) {
        port = instance->server->service_port(instance->state);
    }
    if (port != NULL) {
        port_retain(port);
    }
    lock_release(&registry->lock);
    return port;
}

uint64_t kern_server_service_name(struct mach_host *host, const char *name)
{
    struct port *port = service_port_of(host->servers, name);

    if (port == NULL) {
        return 0;
    }
    uint64_t port_name_64 = port_name(port);
    port_release(port);
    return port_name_64;
}

void kern_servers_destroy(struct mach_host *host)
{
    struct server_registry *registry = host->servers;

    if (registry == NULL) {
        return;
    }
    while (registry->latest != NULL) {
        struct kern_server_instance *instance = registry->latest;
        if (instance->server->unload != NULL) {
            instance->server->unload(host, instance->state);
        }
        registry->latest = instance->next;
        heap_free(host, instance);
    }
    host->servers = NULL;
    heap_free(host, registry);
}

/* --- Records that modules bring --------------------------------------------------------------- */

const struct phy_operations *kern_server_find_loaded_phy(struct mach_host *host, const char *kind)
{
    struct server_registry *registry = host->servers;
    const struct phy_operations *found = NULL;

    if (registry == NULL) {
        return NULL;
    }
    lock_acquire(&registry->lock);
    for (struct kern_server_instance *instance = registry->latest;
         instance != NULL && found == NULL; instance = instance->next) {
        const struct phy_operations *phy = instance->server->phy;
        if (!instance->busy && phy != NULL && strcmp(phy->kind, kind) == 0) {
            found = phy;
        }
    }
    lock_release(&registry->lock);
    return found;
}

int kern_server_register(const struct kern_server *server)
{
    struct mach_host *host = thread_current_host();
    int error = record_load(host, server);

    if (error == ERROR_NONE && server->phy != NULL) {
        link_manager_find_drivers(host);
    }
    return error;
}

void kern_server_pass(struct kmsg *message, uintptr_t record)
{
    const struct kern_server *server = (const struct kern_server *)record;
    struct mach_host *host = thread_current_host();
    struct port *port = service_port_of(host->servers, server->name);
    struct port *reply = kmsg_take_reply_port(message);
    mach_msg_return_t result = MACH_SEND_INVALID_DEST;

    if (!kmsg_is_from_this_kernel(message)) {
        kmsg_set_sender(message, KERN_SERVER_PASSED);
    }
    if (port != NULL) {
        result = mach_msg_forward(message, port, reply, kmsg_reply_disposition(message));
        port_release(port);
    }
    if (result != MACH_MSG_SUCCESS) {
        kmsg_put_reply_port(message, reply);
        service_answer_status(host, message, port != NULL ? ERROR_FULL : ERROR_NOT_FOUND);
    }
}

/* The instance of `server`, marked busy; null: there is none. */
static struct kern_server_instance *instance_claim(struct server_registry *registry,
                                                   const struct kern_server *server)
{
    lock_acquire(&registry->lock);
    struct kern_server_instance *instance = registry->latest;
    while (instance != NULL && instance->server != server) {
        instance = instance->next;
    }
    if (instance != NULL) {
        instance->busy = true;
    }
    lock_release(&registry->lock);
    return instance;
}

int kern_server_unregister(const struct kern_server *server)
{
    struct mach_host *host = thread_current_host();
    struct kern_server_instance *instance = instance_claim(host->servers, server);

    if (instance == NULL) {
        return ERROR_NONE;
    }
    if (server->unload != NULL) {
        server->unload(host, instance->state);
    }
    instance_remove(host->servers, instance);
    heap_free(host, instance);
    return ERROR_NONE;
}

void kern_servers_forget(struct mach_host *host, uintptr_t start, size_t len_bytes)
{
    struct server_registry *registry = host->servers;
    struct kern_server_instance *forgotten = NULL;

    if (registry == NULL) {
        return;
    }
    lock_acquire(&registry->lock);
    struct kern_server_instance **link = &registry->latest;
    while (*link != NULL) {
        struct kern_server_instance *instance = *link;
        if ((uintptr_t)instance->server - start < len_bytes) {
            *link = instance->next;
            instance->next = forgotten;
            forgotten = instance;
        } else {
            link = &instance->next;
        }
    }
    lock_release(&registry->lock);
    while (forgotten != NULL) {
        struct kern_server_instance *next = forgotten->next;
        heap_free(host, forgotten);
        forgotten = next;
    }
}
