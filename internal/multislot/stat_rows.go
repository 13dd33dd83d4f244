package multislot

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// statSections are the sections of INFO whose lines are rows of counters, with the beginnings of the rows' names.
var statSections = map[string]string{"# Keyspace": "db", "# Commandstats": "cmdstat_", "# Errorstats": "errorstat_"}

// statRows are the sums of the rows of several nodes, by the beginning of the rows' names.
type statRows map[string]map[string]*statRow

func newStatRows() statRows {
	r := statRows{}
	for _, prefix := range statSections {
		r[prefix] = map[string]*statRow{}
	}
	return r
}

// of returns the rows to which a name belongs; nil if it is not the name of a row.
func (r statRows) of(name string) map[string]*statRow {
	for prefix, rows := range r {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if _, err := strconv.ParseUint(rest, 10, 31); err == nil || prefix != "db" {
			return rows
		}
	}
	return nil
}

func (r statRows) has(name string) bool { return r.of(name) != nil }

// add adds a line of a node. It reports whether the line is a row.
func (r statRows) add(name, fields string) bool {
	rows := r.of(name)
	if rows == nil {
		return false
	}
	row := cmp.Or(rows[name], &statRow{})
	row.add(fields)
	rows[name] = row
	return true
}

// write appends the rows of a section.
func (r statRows) write(out *bytes.Buffer, section string) {
	prefix, ok := statSections[section]
	if !ok {
		return
	}
	names := make([]string, 0, len(r[prefix]))
	for name := range r[prefix] {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if prefix == "db" {
			return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
		}
		return cmp.Compare(a, b)
	})
	for _, name := range names {
		out.WriteString(name)
		r[prefix][name].write(out)
	}
}

// statRow is the sum of rows such as keys=2,expires=1,avg_ttl=900. The means avg_ttl and usec_per_call stay means.
type statRow struct {
	names []string // in the order of the server
	sums  map[string]int64
	ttl   int64 // sum of expires * avg_ttl
}

func (row *statRow) add(fields string) {
	if row.sums == nil {
		row.sums = map[string]int64{}
	}
	line := map[string]int64{}
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(field, "=")
		if !slices.Contains(row.names, name) {
			row.names = append(row.names, name)
		}
		line[name], _ = strconv.ParseInt(value, 10, 64)
		row.sums[name] += line[name]
	}
	row.ttl += line["expires"] * line["avg_ttl"]
}

func (row *statRow) write(out *bytes.Buffer) {
	for i, field := range row.names {
		fmt.Fprintf(out, "%c%s=", ":,"[min(i, 1)], field)
		switch n := row.sums[field]; {
		case field == "usec_per_call":
			fmt.Fprintf(out, "%.2f", float64(row.sums["usec"])/float64(max(row.sums["calls"], 1)))
		case field == "avg_ttl" && n != 0:
			fmt.Fprint(out, row.ttl/max(row.sums["expires"], 1))
		default:
			fmt.Fprint(out, n)
		}
	}
	out.WriteString("\r\n")
}
