package monitoring

import (
	"github.com/seed-2b0d76a6/respool/monitor"
)

// In expressions, SAME merges the reports of several monitors on one server, and ALL adds up the
// reports of a service's processes on one pool.

// serverAlerts are alerts on servers and monitors that are down.
func serverAlerts() []alertRule {
	return []alertRule{
		{
			Alert: "RespoolServerDown",
			Expr:  "SAME(respool_server_up{MONITOR}) == 0 unless SAME(respool_server_full{MONITOR}) == 1",
			For:   "1m", Keep: "1m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				"{{ $labels.node }} does not answer",
				"No monitor gets an answer from it. See whether it runs and can be reached: respool ping redis://{{ $labels.node }}",
			},
		},
		{
			Alert: "RespoolServerFull",
			Expr:  "SAME(respool_server_full{MONITOR}) == 1",
			Keep:  "2m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				"{{ $labels.node }} is full: it refuses every new connection",
				"maxclients is reached, and administrators do not get in either. Stop the largest client, or CONFIG SET maxclients over a connection that is still open. When you get in again: respool who redis://{{ $labels.node }}",
			},
		},
		{
			Alert: "RespoolPrimaryUnknown",
			Expr:  "SAME(respool_service_primary_known{MONITOR}) == 0",
			For:   "30s", Keep: "1m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				"nobody knows the primary of {{ $labels.service }}",
				"The sentinels tell none, or none of them answers. Ask one yourself: redis-cli -p 26379 SENTINEL MASTER {{ $labels.service }}",
			},
		},
		{
			Alert: "RespoolMonitorGone",
			Expr:  "absent(respool_monitor_nodes{MONITOR})",
			For:   "5m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				"nobody looks at the Redis servers",
				"Prometheus gets no metrics of a monitor, so the other alerts of servers cannot fire. See whether it runs, and its target on Prometheus' page of targets. Meanwhile look yourself: respool doctor URL",
			},
		},
		{
			Alert: "RespoolMonitorStuck",
			Expr:  "time() - SAME(respool_monitor_last_change_timestamp_seconds{MONITOR}) > 300",
			For:   "1m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				"the monitor has learnt nothing for {{ $value | humanizeDuration }}",
				"It is served, but does not look at the servers any more, so what it shows is old. Restart it. Meanwhile look yourself: respool doctor URL",
			},
		},
	}
}

// connectionAlerts are alerts on a server's number and rate of connections.
func connectionAlerts() []alertRule {
	return []alertRule{
		{
			Alert: "RespoolConnectionsRejected",
			Expr:  "SAME(increase(respool_server_rejected_connections_total{MONITOR}[5m])) > 0",
			Keep:  "1m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				`{{ $labels.node }} turned {{ printf "%.0f" $value }} connections away within 5 minutes`,
				"maxclients was reached: services get errors. Find who grows, bound that pool, raise maxclients meanwhile: respool who redis://{{ $labels.node }}",
			},
		},
		{
			Alert: "RespoolOccupancyCritical",
			Expr:  "SAME(respool_occupancy_ratio{MONITOR}) > 0.85",
			For:   "2m", Keep: "2m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				"{{ $value | humanizePercentage }} of the connections of {{ $labels.node }} are taken",
				"Past the limit nobody gets in. See who holds them, bound the largest pools, raise maxclients meanwhile: respool who redis://{{ $labels.node }}",
			},
		},
		{
			Alert: "RespoolOccupancyHigh",
			Expr:  "SAME(respool_occupancy_ratio{MONITOR}) > 0.70",
			For:   "10m", Keep: "10m", Labels: alertLabels(monitor.Ticket),
			Annotations: ruleTexts{
				"{{ $value | humanizePercentage }} of the connections of {{ $labels.node }} are taken",
				"A deployment or a slow command may fill it. See who holds them, respool who redis://{{ $labels.node }}, and size those pools: respool plan --help",
			},
		},
		{
			Alert: "RespoolExhaustionSoon",
			Expr:  "min without (instance, pod) (respool_exhaustion_seconds{MONITOR}) < 4 * 3600",
			For:   "2m", Keep: "15m", Labels: alertLabels(monitor.Ticket),
			Annotations: ruleTexts{
				"{{ $labels.node }} is full in {{ $value | humanizeDuration }}, if connections grow as they do",
				"Connections are opened and not closed. See whose become more, and bound that pool: respool doctor redis://{{ $labels.node }}",
			},
		},
		{
			Alert: "RespoolConnectionStorm",
			Expr:  "SAME(rate(respool_server_connections_opened_total{MONITOR}[5m])) > 100",
			For:   "5m", Keep: "5m", Labels: alertLabels(monitor.Warn),
			Annotations: ruleTexts{
				`{{ printf "%.0f" $value }} connections a second are opened to {{ $labels.node }}`,
				"Clients do not keep their connections, or break them. See whose are the youngest: respool doctor redis://{{ $labels.node }}",
			},
		},
		{
			Alert: "RespoolNoReuse",
			Expr: "SAME(rate(respool_server_connections_opened_total{MONITOR}[5m])) / SAME(rate(respool_server_commands_total{MONITOR}[5m])) > 0.01" +
				" and SAME(rate(respool_server_connections_opened_total{MONITOR}[5m])) >= 1",
			For: "5m", Keep: "5m", Labels: alertLabels(monitor.Warn),
			Annotations: ruleTexts{
				"of the commands to {{ $labels.node }}, {{ $value | humanizePercentage }} open a connection",
				"Somebody opens one for each request instead of one pool for the process. See whose are the youngest: respool doctor redis://{{ $labels.node }}",
			},
		},
	}
}

// poolAlerts are alerts on the pools of services.
func poolAlerts() []alertRule {
	return []alertRule{
		{
			Alert: "RespoolPoolTimeouts",
			Expr:  "ALL(increase(db_client_connection_timeouts_total{REDIS}[5m])) > 0",
			Keep:  "1m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				`{{ printf "%.0f" $value }} callers of the pool {{ $labels.db_client_connection_pool_name }} waited in vain for a connection within 5 minutes`,
				"Each of them got an error. The pool is too small for its load, or its connections are held for too long. Compute what it needs: respool plan --help",
			},
		},
		{
			Alert: "RespoolPoolWaiting",
			Expr:  "ALL(db_client_connection_pending_requests{REDIS}) > 0",
			For:   "1m", Keep: "1m", Labels: alertLabels(monitor.Warn),
			Annotations: ruleTexts{
				`{{ printf "%.0f" $value }} callers wait for a connection of the pool {{ $labels.db_client_connection_pool_name }}`,
				"There were some whenever Prometheus looked. Raise max_connections, or hold connections for less time. Compute what it needs: respool plan --help",
			},
		},
		{
			Alert: "RespoolPoolDialsFail",
			Expr:  "ALL(rate(respool_pool_dial_failures_total[5m])) > 0",
			For:   "5m", Keep: "2m", Labels: alertLabels(monitor.Warn),
			Annotations: ruleTexts{
				"the pool {{ $labels.db_client_connection_pool_name }} cannot open connections",
				"Dials or handshakes have been failing for 5 minutes: the network, a password or maxclients. From the service's host: respool ping URL",
			},
		},
		{
			Alert:  "RespoolPoolLeak",
			Expr:   "ALL(increase(respool_pool_leaks_total[15m])) > 0",
			Labels: alertLabels(monitor.Ticket),
			Annotations: ruleTexts{
				`the pool {{ $labels.db_client_connection_pool_name }} has lent {{ printf "%.0f" $value }} connections for longer than its leak threshold`,
				"They may never come back. The service's event of each holds the stack that acquired it. How long the server has seen them idle: respool who URL --idle 10m --by service,cmd",
			},
		},
	}
}
