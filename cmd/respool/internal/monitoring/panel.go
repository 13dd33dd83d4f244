package monitoring

import (
	"strings"
)

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

func selectedSource() *datasource { return &datasource{"prometheus", "${datasource}"} }

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

// jsonObject is JSON that only Grafana interprets.
type jsonObject map[string]any

// chart is the short form of a panel.
type chart struct {
	title  string
	about  string
	form   chartForm
	unit   string // Grafana's name; empty: a number
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

// chartLine is a query and the legend of its series.
type chartLine struct{ expr, legend string }

// panel expands a chart.
func (c *chart) panel() dashboardPanel {
	p := dashboardPanel{Type: "timeseries", Title: c.title, Description: c.about, Datasource: selectedSource()}
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
		t := dashboardTarget{RefID: string(rune('A' + i)), Datasource: selectedSource(), Expr: expand(l.expr), Legend: l.legend, Range: true}
		if c.form == table {
			t.Format, t.Instant, t.Range = "table", true, false
		}
		p.Targets = append(p.Targets, t)
	}
	return p
}

// expand expands an expression. SAME merges the reports of several monitors on one server. {NODE}
// and {POOL} select the chosen servers and pools.
func expand(expr string) string {
	return strings.NewReplacer(
		"SAME(", "max without (instance, pod) (",
		"BY_POOL(", "sum by (db_client_connection_pool_name) (",
		"{NODE}", `{node=~"$node"}`,
		"{POOL}", `{db_system_name="redis", db_client_connection_pool_name=~"$pool"}`,
	).Replace(expr)
}
