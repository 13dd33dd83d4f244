package main

import (
	"runtime/debug"
	"testing"

	"github.com/seed-2b0d76a6/respool"
)

func TestTheVersionNamesTheCommit(t *testing.T) {
	setting := func(pairs ...string) *debug.BuildInfo {
		info := &debug.BuildInfo{}
		for i := 0; i < len(pairs); i += 2 {
			info.Settings = append(info.Settings, debug.BuildSetting{Key: pairs[i], Value: pairs[i+1]})
		}
		return info
	}
	const revision = "0123456789abcdef0123456789abcdef01234567"
	for _, c := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{nil, ""},
		{setting("GOOS", "linux"), ""},
		{setting("vcs.revision", revision), " (commit 0123456789ab)"},
		{setting("vcs.revision", "abc", "vcs.time", "2026-11-29T14:00:00Z", "vcs.modified", "false"), " (commit abc of 2026-11-29T14:00:00Z)"},
		{setting("vcs.revision", revision, "vcs.time", "2026-11-29T14:00:00Z", "vcs.modified", "true"),
			" (commit 0123456789ab of 2026-11-29T14:00:00Z, with local changes)"},
	} {
		if got, want := versionOf(c.info), "respool "+respool.Version+c.want; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
