package monitoring

// dashboardRows are the rows of the dashboard.
func dashboardRows() []dashboardRow {
	return []dashboardRow{
		{"Occupancy and forecast", occupancyCharts()},
		{"Holders of the connections", holderCharts()},
		{"Opened and rejected", openedCharts()},
		{"Cluster", clusterCharts()},
		{"Pools", poolCharts()},
		{"Blocking commands", blockingCharts()},
		{"Gateways", gatewayCharts()},
	}
}

func occupancyCharts() []chart {
	return []chart{
		{title: "Share of maxclients in use", about: "Ticket above 70%, page above 85%.", unit: "percentunit", width: 12, limits: []float64{0.70, 0.85},
			lines: []chartLine{{"SAME(respool_occupancy_ratio{NODE})", "{{node}}"}}},
		{title: "Connections and the limit", width: 12,
			lines: []chartLine{
				{"SAME(respool_server_connections{NODE})", "{{node}}"},
				{"SAME(respool_server_maxclients{NODE})", "{{node}}: maxclients"},
			}},
		{title: "Time until full", about: "If connections grow at this rate. Empty if they do not grow steadily.", unit: "s", width: 8,
			lines: []chartLine{
				{"min by (node) (respool_exhaustion_seconds{NODE})", "{{node}}"},
				{"min by (node) (respool_exhaustion_earliest_seconds{NODE})", "{{node}}: earliest"},
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
		{title: "By state", about: "Active: a command within a second. Idle: none for a minute.", width: 12, form: stacked, lines: by("state")},
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
		{title: "Connections opened for each command", about: "Above 1%, a service does not reuse connections.", unit: "percentunit", width: 8,
			lines: []chartLine{{"SAME(rate(respool_server_connections_opened_total{NODE}[$__rate_interval])) / SAME(rate(respool_server_commands_total{NODE}[$__rate_interval]))", "{{node}}"}}},
		{title: "Memory of clients", unit: "bytes", width: 8,
			lines: []chartLine{{"SAME(respool_server_clients_memory_bytes{NODE})", "{{node}}"}}},
		{title: "Restarts", width: 8,
			lines: []chartLine{{"SAME(increase(respool_server_restarts_total{NODE}[$__rate_interval]))", "{{node}}"}}},
	}
}

// clusterCharts show clusters. They are empty without one.
func clusterCharts() []chart {
	same := func(metric, what string) chartLine { return chartLine{"SAME(" + metric + ")", "{{service}}: " + what} }
	return []chart{
		{title: "Slots without a node", about: "Page above 0: commands on their keys fail.", width: 8,
			lines: []chartLine{same("respool_cluster_slots_uncovered", "slots")}},
		{title: "Shards and nodes", about: "Without a replica: if such a primary fails, its slots have no node.", width: 8,
			lines: []chartLine{
				same("respool_cluster_shards", "shards"),
				same("respool_cluster_shards_without_replica", "without a replica"),
				same("respool_cluster_nodes_unreachable", "nodes that do not answer"),
			}},
		{title: "Hottest primary", about: "Its connections compared with the mean of the other primaries. Warning above 2, from 40 connections on.", width: 8,
			lines: []chartLine{same("respool_cluster_hottest_ratio", "ratio")}},
		{title: "Connections of the hottest primary", width: 12,
			lines: []chartLine{{"SAME(respool_cluster_hottest_connections{NODE})", "{{node}}"}}},
		{title: "Slots by node", width: 12, form: stacked,
			lines: []chartLine{{"SAME(respool_cluster_node_slots{NODE})", "{{node}}"}}},
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
		{title: "Connections and their limit", about: "Sum of all processes.", width: 12,
			lines: []chartLine{
				{"BY_POOL(db_client_connection_count{POOL})", "{{db_client_connection_pool_name}}"},
				{"BY_POOL(db_client_connection_max{POOL})", "{{db_client_connection_pool_name}}: limit"},
			}},
		{title: "Callers that wait", width: 8,
			lines: []chartLine{{"BY_POOL(db_client_connection_pending_requests{POOL})", "{{db_client_connection_pool_name}}"}}},
		{title: "Wait for a connection, p99", about: "Successful waits only.", unit: "s", width: 8,
			lines: []chartLine{slowest("db_client_connection_wait_time")}},
		{title: "Failed waits a second", width: 8,
			lines: []chartLine{
				rate("db_client_connection_timeouts_total", ": timeouts"),
				rate("respool_pool_waits_in_vain_total", ": for any reason"),
			}},
		{title: "Connections held by one caller, p99", unit: "s", width: 8,
			lines: []chartLine{slowest("db_client_connection_use_time")}},
		{title: "Dial and handshake, p99", unit: "s", width: 8,
			lines: []chartLine{slowest("db_client_connection_create_time")}},
		{title: "Failures a second", width: 8,
			lines: []chartLine{
				rate("respool_pool_dial_failures_total", ": dials failed"),
				rate("respool_pool_condemned_total", ": lanes failed"),
				rate("respool_pool_leaks_total", ": leaks suspected"),
			}},
	}
}

// blockingCharts show blocking commands that wait without a dedicated connection.
func blockingCharts() []chart {
	byCommand := func(expr string) string {
		return "sum by (db_client_connection_pool_name, db_operation_name) (" + expr + ")"
	}
	const name, command = "{{db_client_connection_pool_name}}", "{{db_client_connection_pool_name}}: {{db_operation_name}}"
	rate := func(metric, what string) chartLine {
		return chartLine{"BY_POOL(rate(" + metric + "{POOL}[$__rate_interval]))", name + what}
	}
	return []chart{
		{title: "Blocking commands that wait", about: "Without a dedicated connection. The server's blocked_clients does not count them.", width: 8, form: stacked,
			lines: []chartLine{{byCommand("respool_pool_blocked{POOL}"), command}}},
		{title: "Keys that they wait for", width: 8,
			lines: []chartLine{{"BY_POOL(respool_pool_blocked_keys{POOL})", name}}},
		{title: "Longest wait that has ended", unit: "s", width: 8,
			lines: []chartLine{{"max by (db_client_connection_pool_name, db_operation_name) (respool_pool_blocked_longest_seconds{POOL})", command}}},
		{title: "Waits that end a second", unit: "cps", width: 8, form: stacked,
			lines: []chartLine{{"sum by (db_client_connection_pool_name, respool_pool_end) (rate(respool_pool_blocked_ended_total{POOL}[$__rate_interval]))",
				"{{db_client_connection_pool_name}}: {{respool_pool_end}}"}}},
		{title: "Tries a second", about: "Spurious: found no data, after the first try of a wait. Each wait on a new key has one.", unit: "cps", width: 8,
			lines: []chartLine{
				rate("respool_pool_blocked_tries_total", ""),
				rate("respool_pool_blocked_spurious_tries_total", ": spurious"),
			}},
		{title: "Problems", about: "Dedicated: processes whose blocking commands hold connections, because the server does not report changes of keys. The others are rates a second.", width: 8,
			lines: []chartLine{
				{"BY_POOL(respool_pool_blocking_dedicated{POOL})", name + ": dedicated"},
				rate("respool_pool_elements_lost_total", ": elements lost"),
				rate("respool_pool_elements_given_back_total", ": elements given back"),
				rate("respool_pool_elements_dropped_total", ": replies without a caller"),
				rate("respool_pool_key_watch_reconnects_total", ": watch reconnects"),
			}},
	}
}
