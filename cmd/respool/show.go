package main

import (
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
)

// printer is a report that can be printed for people.
type printer interface {
	Print() error
}

// show prints a report for people, or as one JSON object on a line.
func show(r printer, asJSON bool) error {
	if asJSON {
		return output.JSON(r)
	}
	return r.Print()
}
