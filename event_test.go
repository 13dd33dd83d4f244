package respool

import "testing"

func TestEachKindOfEventHasAName(t *testing.T) {
	names := map[string]EventKind{}
	for _, k := range []EventKind{
		EventDialed, EventDialFailed, EventClosed, EventWaitBegan, EventWaitEnded, EventLaneFailed, EventLeakSuspected, EventReleased,
		EventPrimaryFound, EventWritesHeld, EventPrimaryLost, EventCredentialsRenewed, EventRenewalFailed, EventTLSFilesChanged,
		EventTLSFilesRefused, EventBlockingDedicated, EventBlockingShared, EventElementsLost, EventClusterNodesChanged, EventSlotsLost,
		EventSlotsFound, EventTotalTooLow,
	} {
		name := k.String()
		if other, taken := names[name]; taken || name == EventKind(255).String() {
			t.Errorf("kinds %d and %d are both called %q", k, other, name)
		}
		names[name] = k
	}
}
