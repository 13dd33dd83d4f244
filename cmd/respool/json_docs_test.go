package main

import (
	"encoding"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/check"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/demo"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/doctor"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/drill"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/ping"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/relay"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/serve"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/sizing"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/top"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// documented are the objects that docs/json.md describes, by heading.
var documented = map[string]any{
	"respool doctor":       doctor.Report{},
	"respool top":          top.Report{},
	"respool who":          clients.HoldersReport{},
	"respool kill":         clients.KillReport{},
	"respool ping":         ping.Report{},
	"respool plan":         sizing.Report{},
	"respool check":        check.Report{},
	"respool drill":        drill.Report{},
	"respool demo":         demo.Report{},
	"/api/snapshot":        report.State{},
	"/api/connections":     relay.Connections{},
	"/api/alerts":          page.Alerts{},
	"/healthz":             page.Health{},
	"/readyz of a watch":   page.Sight{},
	"/readyz of a gateway": serve.Readiness{},
	"Alert":                monitor.Alert{},
	"Finding":              monitor.Finding{},
	"Node":                 report.Node{},
	"Service":              report.Service{},
	"Rates":                report.Rates{},
	"Forecast":             report.Forecast{},
	"Cluster":              report.Cluster{},
	"Size":                 sizing.Client{},
}

// isDocumented reports whether an object has its own section, so that others only refer to it.
func isDocumented(of reflect.Type) bool {
	for _, object := range documented {
		if reflect.TypeOf(object) == of {
			return true
		}
	}
	return false
}

// fieldOf is a field as a row of docs/json.md states it.
type fieldOf struct {
	name, kind string
	optional   bool
}

// fieldsOf returns the fields of an object and, with a dot, those of the objects in it.
func fieldsOf(of reflect.Type, prefix string) (list []fieldOf) {
	for i := range of.NumField() {
		f := of.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && tag == "" && isDocumented(f.Type), !f.IsExported(), tag == "-":
			continue
		case tag == "":
			tag = f.Name
		}
		kind, object := kindOf(f.Type)
		list = append(list, fieldOf{prefix + tag, kind, strings.Contains(options, "omit")})
		if object != nil && !isDocumented(object) {
			list = append(list, fieldsOf(object, prefix+tag+".")...)
		}
	}
	return list
}

// kindOf returns the JSON type, and the object in it.
func kindOf(of reflect.Type) (string, reflect.Type) {
	switch {
	case of == reflect.TypeFor[time.Time]():
		return "time", nil
	case of.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return "string", nil
	}
	switch of.Kind() {
	case reflect.Pointer:
		return kindOf(of.Elem())
	case reflect.Slice:
		kind, object := kindOf(of.Elem())
		return kind + "s", object
	case reflect.Map:
		kind, object := kindOf(of.Elem())
		return kind + "s by name", object
	case reflect.Struct:
		return "object", of
	case reflect.String:
		return "string", nil
	case reflect.Bool:
		return "boolean", nil
	case reflect.Float32, reflect.Float64:
		return "number", nil
	}
	return "integer", nil
}

var (
	docsSection = regexp.MustCompile(`(?m)^### (.+)$`)
	docsRow     = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([a-z ]+?)(, optional)? \\| (.+) \\|$")
)

// docs/json.md has a row for each field of each object, with its type, and none for another field.
func TestTheDocsDescribeEachFieldOfTheJSON(t *testing.T) {
	raw, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	heads := docsSection.FindAllStringSubmatchIndex(string(raw), -1)
	for i, at := range heads {
		end := len(raw)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		sections[string(raw[at[2]:at[3]])] = string(raw[at[1]:end])
	}
	for heading, object := range documented {
		text, ok := sections[heading]
		if !ok {
			t.Errorf("no section %q", heading)
		}
		delete(sections, heading)
		var rows []fieldOf
		for _, r := range docsRow.FindAllStringSubmatch(text, -1) {
			rows = append(rows, fieldOf{r[1], r[2], r[3] != ""})
		}
		fields := fieldsOf(reflect.TypeOf(object), "")
		for _, f := range fields {
			if !slices.Contains(rows, f) {
				t.Errorf("%s: no row for %+v", heading, f)
			}
		}
		for _, r := range rows {
			if !slices.Contains(fields, r) {
				t.Errorf("%s: there is no field %+v", heading, r)
			}
		}
	}
	for heading := range sections {
		t.Errorf("section %q describes no object", heading)
	}
}
