package main

import (
	"runtime/debug"

	"github.com/seed-2b0d76a6/respool"
)

// version is the version of the program, with the commit and its date where the build recorded them.
func version() string {
	info, _ := debug.ReadBuildInfo()
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	text := "respool " + respool.Version
	if info == nil {
		return text
	}
	var commit, date, changed string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case "vcs.time":
			date = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				changed = ", with local changes"
			}
		}
	}
	if commit == "" {
		return text
	}
	if date != "" {
		commit += " of " + date
	}
	return text + " (commit " + commit + changed + ")"
}
