package main

import (
	"encoding/json"
	"io"
	"os"
	"strings"
)

type dashboardCmd struct{}

// Help says more than the one line of the command list.
func (dashboardCmd) Help() string {
	return `Prints a dashboard for Grafana 10.4 or later, in JSON: how full servers are and when they will be,
who holds their connections, what is opened and rejected, and what services see of their pools.
It asks for the data source, and shows any of the servers and pools. docs/metrics.md lists the metrics.

Examples:
  respool dashboard > respool.json
  respool dashboard > /var/lib/grafana/dashboards/respool.json`
}

// Run prints.
func (*dashboardCmd) Run() error { return writeDashboard(os.Stdout) }

func writeDashboard(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(newDashboard(dashboardRows()))
}

// dashboard is what Grafana reads.
type dashboard struct {
	UID           string        `json:"uid"`
	Title         string        `json:"title"`
	Description   string        `json:"description"`
	Tags          []string      `json:"tags"`
	SchemaVersion int           `json:"schemaVersion"`
	Version       int           `json:"version"`
	Editable      bool          `json:"editable"`
	Tooltip       int           `json:"graphTooltip"`
	Refresh       string        `json:"refresh"`
	Time          dashboardTime `json:"time"`
	Templating    struct {
		List []dashboardVariable `json:"list"`
	} `json:"templating"`
	Panels []dashboardPanel `json:"panels"`
}

type dashboardTime struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type dashboardVariable struct {
	Name       string      `json:"name"`
	Label      string      `json:"label"`
	Type       string      `json:"type"`
	Query      string      `json:"query"`
	Datasource *datasource `json:"datasource,omitempty"`
	Refresh    int         `json:"refresh,omitempty"`
	Multi      bool        `json:"multi,omitempty"`
	IncludeAll bool        `json:"includeAll,omitempty"`
	AllValue   string      `json:"allValue,omitempty"`
	Sort       int         `json:"sort,omitempty"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

func chosenSource() *datasource { return &datasource{"prometheus", "${datasource}"} }

type dashboardPanel struct {
	ID          int               `json:"id"`
	Type        string            `json:"type"`
	Title       string            `json:"title"`
	Description string            `json:"description,omitempty"`
	Place       panelPlace        `json:"gridPos"`
	Datasource  *datasource       `json:"datasource,omitempty"`
	Targets     []dashboardTarget `json:"targets,omitempty"`
	FieldConfig any               `json:"fieldConfig,omitempty"`
	Options     any               `json:"options,omitempty"`
}

type panelPlace struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

type dashboardTarget struct {
	RefID      string      `json:"refId"`
	Datasource *datasource `json:"datasource"`
	Expr       string      `json:"expr"`
	Legend     string      `json:"legendFormat,omitempty"`
	Format     string      `json:"format,omitempty"`
	Instant    bool        `json:"instant,omitempty"`
	Range      bool        `json:"range,omitempty"`
}

// jsonObject is JSON whose fields only Grafana knows.
type jsonObject map[string]any

// dashboardRow is a heading with what stands under it.
type dashboardRow struct {
	title  string
	charts []chart
}

// chart is a panel in short.
type chart struct {
	title  string
	about  string
	form   chartForm
	unit   string // as Grafana calls it; empty: a number
	width  int    // of 24
	limits []float64
	lines  []chartLine
}

type chartForm int

const (
	curves  chartForm = iota // over time
	stacked                  // over time, one on the other
	table                    // now
)

// chartLine is a query, with how its curves are called.
type chartLine struct{ expr, legend string }

const (
	panelHeight   = 8
	dashboardWide = 24
)

func newDashboard(rows []dashboardRow) *dashboard {
	d := &dashboard{
		UID: "respool-connections", Title: "Redis connections", Description: "How full Redis servers are, who holds their connections, and what pools wait for.",
		Tags: []string{"redis", "respool"}, SchemaVersion: 39, Version: 1, Editable: true, Tooltip: 1, Refresh: "30s", Time: dashboardTime{"now-6h", "now"},
	}
	d.Templating.List = []dashboardVariable{
		{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus"},
		valuesVariable("node", "Server", "label_values(respool_server_up, node)"),
		valuesVariable("pool", "Pool", `label_values(db_client_connection_timeouts_total{db_system_name="redis"}, db_client_connection_pool_name)`),
	}
	x, y := 0, 0
	add := func(p dashboardPanel, height, width int) {
		if x+width > dashboardWide {
			x, y = 0, y+panelHeight
		}
		p.ID, p.Place = len(d.Panels)+1, panelPlace{height, width, x, y}
		d.Panels = append(d.Panels, p)
		x += width
	}
	for _, row := range rows {
		add(dashboardPanel{Type: "row", Title: row.title}, 1, dashboardWide)
		x, y = 0, y+1
		for i := range row.charts {
			add(row.charts[i].panel(), panelHeight, row.charts[i].width)
		}
		x, y = 0, y+panelHeight
	}
	return d
}

func valuesVariable(name, label, query string) dashboardVariable {
	return dashboardVariable{Name: name, Label: label, Type: "query", Query: query, Datasource: chosenSource(), Refresh: 2, Multi: true, IncludeAll: true, AllValue: ".*", Sort: 1}
}

// panel writes a chart out.
func (c *chart) panel() dashboardPanel {
	p := dashboardPanel{Type: "timeseries", Title: c.title, Description: c.about, Datasource: chosenSource()}
	custom := jsonObject{"lineWidth": 1, "fillOpacity": 5, "showPoints": "never"}
	p.Options = jsonObject{"legend": jsonObject{"displayMode": "list", "placement": "bottom"}, "tooltip": jsonObject{"mode": "multi", "sort": "desc"}}
	switch c.form {
	case stacked:
		custom["fillOpacity"], custom["stacking"] = 60, jsonObject{"mode": "normal", "group": "A"}
	case table:
		p.Type, p.Options, custom = "table", jsonObject{"showHeader": true}, jsonObject{}
	}
	defaults := jsonObject{"custom": custom, "min": 0}
	if c.unit != "" {
		defaults["unit"] = c.unit
	}
	if len(c.limits) == 2 {
		custom["thresholdsStyle"] = jsonObject{"mode": "line"}
		defaults["thresholds"] = jsonObject{"mode": "absolute", "steps": []jsonObject{
			{"color": "green", "value": nil}, {"color": "orange", "value": c.limits[0]}, {"color": "red", "value": c.limits[1]},
		}}
	}
	p.FieldConfig = jsonObject{"defaults": defaults, "overrides": []jsonObject{}}
	for i, l := range c.lines {
		t := dashboardTarget{RefID: string(rune('A' + i)), Datasource: chosenSource(), Expr: inFull(l.expr), Legend: l.legend, Range: true}
		if c.form == table {
			t.Format, t.Instant, t.Range = "table", true, false
		}
		p.Targets = append(p.Targets, t)
	}
	return p
}

// inFull writes an expression out. SAME takes what several monitors tell of one
// server as one; {NODE} and {POOL} are what is chosen.
func inFull(expr string) string {
	return strings.NewReplacer(
		"SAME(", "max without (instance, pod) (",
		"BY_POOL(", "sum by (db_client_connection_pool_name) (",
		"{NODE}", `{node=~"$node"}`,
		"{POOL}", `{db_system_name="redis", db_client_connection_pool_name=~"$pool"}`,
	).Replace(expr)
}

// dashboardRows are what the dashboard shows.
func dashboardRows() []dashboardRow {
	return []dashboardRow{
		{"Occupancy and forecast", occupancyCharts()},
		{"Who holds the connections", holderCharts()},
		{"Opened and rejected", openedCharts()},
		{"Pools", poolCharts()},
	}
}

func occupancyCharts() []chart {
	return []chart{
		{title: "Share of maxclients that is taken", about: "A ticket from 70% on, a page from 85% on.", unit: "percentunit", width: 12, limits: []float64{0.70, 0.85},
			lines: []chartLine{{"SAME(respool_occupancy_ratio{NODE})", "{{node}}"}}},
		{title: "Connections and the limit", width: 12,
			lines: []chartLine{
				{"SAME(respool_server_connections{NODE})", "{{node}}"},
				{"SAME(respool_server_maxclients{NODE})", "{{node}}: maxclients"},
			}},
		{title: "Full in", about: "If connections grow as they do; nothing where they do not grow steadily.", unit: "s", width: 8,
			lines: []chartLine{
				{"min by (node) (respool_exhaustion_seconds{NODE})", "{{node}}"},
				{"min by (node) (respool_exhaustion_earliest_seconds{NODE})", "{{node}}: at the earliest"},
			}},
		{title: "Servers that answer", about: "1: yes. 0: no.", width: 8,
			lines: []chartLine{
				{"SAME(respool_server_up{NODE})", "{{node}}"},
				{"max by (node, role) (respool_server_info{NODE})", "{{node}} is {{role}}"},
			}},
		{title: "Alerts of the monitor", width: 8, form: stacked,
			lines: []chartLine{{`max by (rule, severity) (respool_alerts{state="firing"})`, "{{rule}} ({{severity}})"}}},
	}
}

func holderCharts() []chart {
	by := func(label string) []chartLine {
		return []chartLine{{"sum by (" + label + ") (SAME(respool_clients{NODE}))", "{{" + label + "}}"}}
	}
	return []chart{
		{title: "By service", width: 12, form: stacked, lines: by("service")},
		{title: "By what they do", about: "Active: a command within a second. Idle: none for a minute.", width: 12, form: stacked, lines: by("state")},
		{title: "By library", width: 8, form: stacked, lines: by("lib")},
		{title: "Now", width: 8, form: table,
			lines: []chartLine{{"sort_desc(sum by (service, lib, user) (SAME(respool_clients{NODE})))", ""}}},
		{title: "Blocked, and replicas", width: 8,
			lines: []chartLine{
				{"SAME(respool_server_blocked_clients{NODE})", "{{node}}: blocked"},
				{"SAME(respool_server_replication_clients{NODE})", "{{node}}: replicas"},
			}},
	}
}

func openedCharts() []chart {
	return []chart{
		{title: "Connections opened a second", unit: "cps", width: 8,
			lines: []chartLine{{"SAME(rate(respool_server_connections_opened_total{NODE}[$__rate_interval]))", "{{node}}"}}},
		{title: "Connections rejected a second", unit: "cps", width: 8,
			lines: []chartLine{{"SAME(rate(respool_server_rejected_connections_total{NODE}[$__rate_interval]))", "{{node}}"}}},
		{title: "Commands a second", unit: "ops", width: 8,
			lines: []chartLine{{"SAME(rate(respool_server_commands_total{NODE}[$__rate_interval]))", "{{node}}"}}},
		{title: "Connections opened for each command", about: "Above 1% somebody does not keep connections.", unit: "percentunit", width: 8,
			lines: []chartLine{{"SAME(rate(respool_server_connections_opened_total{NODE}[$__rate_interval])) / SAME(rate(respool_server_commands_total{NODE}[$__rate_interval]))", "{{node}}"}}},
		{title: "Memory of clients", unit: "bytes", width: 8,
			lines: []chartLine{{"SAME(respool_server_clients_memory_bytes{NODE})", "{{node}}"}}},
		{title: "Restarts", width: 8,
			lines: []chartLine{{"SAME(increase(respool_server_restarts_total{NODE}[$__rate_interval]))", "{{node}}"}}},
	}
}

func poolCharts() []chart {
	slowest := func(name string) chartLine {
		return chartLine{"histogram_quantile(0.99, sum by (le, db_client_connection_pool_name) (rate(" + name + "_seconds_bucket{POOL}[$__rate_interval])))",
			"{{db_client_connection_pool_name}}"}
	}
	rate := func(name, what string) chartLine {
		return chartLine{"BY_POOL(rate(" + name + "{POOL}[$__rate_interval]))", "{{db_client_connection_pool_name}}" + what}
	}
	return []chart{
		{title: "Connections by state", width: 12, form: stacked,
			lines: []chartLine{{"sum by (db_client_connection_pool_name, db_client_connection_state) (db_client_connection_count{POOL})",
				"{{db_client_connection_pool_name}}: {{db_client_connection_state}}"}}},
		{title: "Connections and their bound", about: "Of all processes together.", width: 12,
			lines: []chartLine{
				{"BY_POOL(db_client_connection_count{POOL})", "{{db_client_connection_pool_name}}"},
				{"BY_POOL(db_client_connection_max{POOL})", "{{db_client_connection_pool_name}}: bound"},
			}},
		{title: "Callers that wait", width: 8,
			lines: []chartLine{{"BY_POOL(db_client_connection_pending_requests{POOL})", "{{db_client_connection_pool_name}}"}}},
		{title: "Wait for a connection, p99", about: "Of those who had to wait, and got one.", unit: "s", width: 8,
			lines: []chartLine{slowest("db_client_connection_wait_time")}},
		{title: "Waits in vain a second", width: 8,
			lines: []chartLine{
				rate("db_client_connection_timeouts_total", ": timeouts"),
				rate("respool_pool_waits_in_vain_total", ": for any reason"),
			}},
		{title: "Connections held by one caller, p99", unit: "s", width: 8,
			lines: []chartLine{slowest("db_client_connection_use_time")}},
		{title: "Dial and handshake, p99", unit: "s", width: 8,
			lines: []chartLine{slowest("db_client_connection_create_time")}},
		{title: "What goes wrong, a second", width: 8,
			lines: []chartLine{
				rate("respool_pool_dial_failures_total", ": dials failed"),
				rate("respool_pool_condemned_total", ": lanes broken"),
				rate("respool_pool_leaks_total", ": leaks suspected"),
			}},
	}
}
