# Loadable servers: build/<arch>/servers/<name>.kern_server, relocatable objects that a running node takes (docs/spec/server_object.md).
#
#   make servers         every server for every architecture
#
# What servers there are says servers.mk. An object is compiled apart from the kernel's, linked into one, and may call what
# core/exports.h lists. Included by Makefile, which defines compile().

.PHONY: servers

# server_rules(arch, server)
define server_rules
MODULE_$(1)_$(2) := $$(patsubst %,$(BUILD)/$(1)/module/%.o,$$(SOURCES_$(2)))
LOAD_$(2) ?= $$(LOAD_DEFAULT)
UNLOAD_$(2) ?= $$(UNLOAD_DEFAULT)

$(BUILD)/$(1)/module/$(2).o: $$(MODULE_$(1)_$(2))
	$(Q)$$(LLD) -r -mllvm -inline-threshold=4000 $$^ -o $$@.$$$$$$$$ && mv -f $$@.$$$$$$$$ $$@

$(BUILD)/$(1)/module/$(2).imports: $(BUILD)/$(1)/module/$(2).o $(BUILD)/$(1)/exports.list tools/imports.py
	$(Q)$$(PYTHON) tools/imports.py --exports $(BUILD)/$(1)/exports.list $$< >$$@.$$$$$$$$ && mv -f $$@.$$$$$$$$ $$@

$(BUILD)/$(1)/servers/$(2).kern_server: $(BUILD)/$(1)/module/$(2).o $(BUILD)/$(1)/module/$(2).imports $$(LOAD_$(2)) $$(UNLOAD_$(2)) \
    arch/generic/server_object.S server_object.mk
	@mkdir -p $$(@D)
	@echo "  $(1) $$(@F)"
	$(Q)meta=$$(@D)/.$(2).$$$$$$$$.o && $$(CLANG) $$(FLAGS_$(1)) -DSERVER_NAME='"$$(or $$(NAME_$(2)),$(2))"' -DSERVER_INSTANCE=$$(or $$(INSTANCE_$(2)),kern_server_self) \
	    -DLOAD_COMMANDS='"$$(LOAD_$(2))"' $$(if $$(UNLOAD_$(2)),-DUNLOAD_COMMANDS='"$$(UNLOAD_$(2))"') -DIMPORTS='"$$(<:.o=.imports)"' \
	    -c arch/generic/server_object.S -o $$$$meta && \
	    $$(LLD) -r $$< $$$$meta -o $$@.$$$$$$$$ && rm -f $$$$meta && mv -f $$@.$$$$$$$$ $$@

servers: $(BUILD)/$(1)/servers/$(2).kern_server
-include $$(MODULE_$(1)_$(2):%.o=%.d)
endef

define module_rules
MODULE_FLAGS_$(1) := $$(FLAGS_$(1)) -flto -DKERN_SERVER_MODULE
$(BUILD)/$(1)/module/%.c.o: %.c Makefile server_object.mk
	$(Q)$$(call compile,$$(CLANG) $$(MODULE_FLAGS_$(1)))

# For kl_ld, which builds servers elsewhere: the same flags, but for where this folder is.
$(BUILD)/$(1)/server.flags: Makefile server_object.mk
	@mkdir -p $$(@D)
	$(Q)echo '$$(filter-out -ffile-prefix-map=%,$$(MODULE_FLAGS_$(1)))' >$$@.$$$$$$$$ && mv -f $$@.$$$$$$$$ $$@

servers: $(BUILD)/$(1)/server.flags $(BUILD)/$(1)/exports.list

$(foreach server,$(SERVERS),$(eval $(call server_rules,$(1),$(server))))
endef
$(foreach arch,$(ALL_ARCHES),$(eval $(call module_rules,$(arch))))
