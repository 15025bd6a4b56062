# next.mk -- included by the Makefile: the daemon as other versions of it, for
# tests/proc/test_versions.py. build/craftd-next is a next version, which speaks
# this one's protocol too; build/craftd-far is so much newer that it does not.
# They are linked from the release objects; only NEXT_ROOMS, whose code depends
# on the version, and next.c are compiled anew.
NEXT_ROOMS := wire peer
NEXT_SOURCES := $(call sources_of,$(NEXT_ROOMS))
NEXT_SHARED := $(call objects,release,$(filter-out $(NEXT_SOURCES),$(SOURCES)))
NEXT_WRAP := $(addprefix -Wl$(comma)--wrap=,wire_add_hello wire_add_empty \
  command_begin command_txn command_open command_check command_is_request)
NEXT_VERSIONS_next := -DCRAFTD_WIRE_VERSION=2
NEXT_VERSIONS_far := -DCRAFTD_WIRE_VERSION=2 -DCRAFTD_WIRE_VERSION_MIN=2
define next_rule
$(BUILD)/craftd-$(1): $(call objects,$(1),$(NEXT_SOURCES) tests/proc/next.c) \
  $(NEXT_SHARED)
	$$(CC) $$(RELEASE_CFLAGS) $$(RELEASE_LDFLAGS) $$(NEXT_WRAP) -o $$@ $$^ $$(LIBS)
$(BUILD)/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	$$(CC) $$(LANGUAGE) $$(WARN) $$(RELEASE_CFLAGS) $(NEXT_VERSIONS_$(1)) \
	  -ffunction-sections -fdata-sections -MMD -MP -c -o $$@ $$<
endef
$(foreach next,next far,$(eval $(call next_rule,$(next))))
# build/craftd-before is the build before this one as far as others can see: it
# neither applies nor advertises commands with a stamp, and its schema is older.
BEFORE_ROOMS := command store node
BEFORE_SOURCES := $(call sources_of,$(BEFORE_ROOMS))
$(BUILD)/craftd-before: $(call objects,before,$(BEFORE_SOURCES)) \
  $(call objects,release,$(filter-out $(BEFORE_SOURCES),$(SOURCES)))
	$(CC) $(RELEASE_CFLAGS) $(RELEASE_LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/before/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(LANGUAGE) $(WARN) $(RELEASE_CFLAGS) -DCRAFTD_COMMAND_NEWEST=3 \
	  -ffunction-sections -fdata-sections -MMD -MP -c -o $@ $<
