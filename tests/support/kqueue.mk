# kqueue.mk -- included by the Makefile: src/reactor/kqueue.c on Linux, over the
# emulation of kqueue_over_epoll.c: the unit tests of what uses the reactor, with
# the sanitizers, and the daemon, build/kqueue/craftd, for tests/proc.
KQUEUE_SOURCES := src/reactor/kqueue.c tests/support/kqueue_over_epoll.c \
  tests/support/not_linux.c
KQUEUE_TESTS := $(filter test_reactor% test_peer test_peer_admission,$(UNIT_TESTS))
KQUEUE_WRAP := -Wl,--wrap=close,--wrap=socketpair,--wrap=syscall
# The objects of a flavour, with the other back-end.
kqueue_objects = $(filter-out %/src/reactor/epoll.o,$(2)) \
  $(call objects,$(1),$(KQUEUE_SOURCES))

KQUEUE_OBJECTS := $(foreach flavour,check release,\
  $(call objects,$(flavour),$(KQUEUE_SOURCES)))
KQUEUE_OWN := test_kqueue test_kqueue_poller
$(addprefix $(BUILD)/check/,$(KQUEUE_OWN)): private WRAP := $(KQUEUE_WRAP)
$(KQUEUE_OBJECTS) $(patsubst %,$(BUILD)/check/tests/unit/%.o,$(KQUEUE_OWN)): LANGUAGE += \
  -Itests -isystem tests/support/kqueue

define kqueue_rule
$(BUILD)/kqueue/$(1): $(BUILD)/check/tests/unit/$(1).o \
  $$(call kqueue_objects,check,$$(call objects,check,\
    $$(call stack_sources,$(call room_of,$(1))) \
    $$(call support_sources,$(call room_of,$(1)))))
	@mkdir -p $$(@D)
	$$(CC) $$(SANITIZE) $(wrap_$(1)) $$(KQUEUE_WRAP) -o $$@ $$^ -lcmocka $$(LIBS)
endef
$(foreach test,$(KQUEUE_TESTS),$(eval $(call kqueue_rule,$(test))))

KQUEUE_PROGRAMS := $(addprefix $(BUILD)/kqueue/,$(KQUEUE_TESTS))
.PHONY: kqueue-unit
kqueue-unit: $(KQUEUE_PROGRAMS)
	scripts/run-tests $^

$(BUILD)/kqueue/craftd: $(call kqueue_objects,release,\
  $(call objects,release,$(SOURCES)))
	@mkdir -p $(@D)
	$(CC) $(RELEASE_CFLAGS) $(RELEASE_LDFLAGS) $(KQUEUE_WRAP) -o $@ $^ $(LIBS)
