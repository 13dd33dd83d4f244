package monitoring

import (
	"github.com/seed-2b0d76a6/respool/monitor"
)

// gatewayAlerts are alerts on gateways: one for each process of respool serve.
func gatewayAlerts() []alertRule {
	return []alertRule{
		{
			Alert: "RespoolGatewayNotReady",
			Expr:  "respool_gateway_ready == 0",
			For:   "1m", Keep: "1m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				"the gateway {{ $labels.instance }} is not ready",
				"It does not accept clients, or its server does not answer, so its clients get errors. Its page /readyz states the reason. Check the server from the gateway's host: respool ping URL",
			},
		},
		{
			Alert: "RespoolGatewayRefusesClients",
			Expr:  "increase(respool_gateway_refused_total[5m]) > 0",
			Keep:  "1m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				`the gateway {{ $labels.instance }} refused {{ printf "%.0f" $value }} clients within 5 minutes`,
				"A limit of clients is reached, so new clients get errors. Find the clients that hold the connections, limit their pools, raise the limit meanwhile: respool who redis://GATEWAY",
			},
		},
		{
			Alert: "RespoolGatewayClosesSlowClients",
			Expr:  "increase(respool_gateway_slow_closed_total[15m]) > 0",
			Keep:  "1m", Labels: alertLabels(monitor.Warn),
			Annotations: ruleTexts{
				`the gateway {{ $labels.instance }} closed {{ printf "%.0f" $value }} clients within 15 minutes that did not read their replies`,
				"Their replies filled the buffer of a client. They hang, or request more than they read. The gateway's log names them. List the clients that remain: respool who redis://GATEWAY --by service,addr,cmd",
			},
		},
		{
			Alert: "RespoolGatewayQueues",
			Expr: "rate(respool_gateway_queue_seconds_sum[5m]) / rate(respool_gateway_queue_seconds_count[5m]) > 0.1" +
				" and on (job, instance) rate(respool_gateway_commands_total[5m]) > 1",
			For: "5m", Keep: "5m", Labels: alertLabels(monitor.Warn),
			Annotations: ruleTexts{
				"commands wait {{ $value | humanizeDuration }} in the gateway {{ $labels.instance }} before they are sent",
				"It has too few connections for its load, its clients hold dedicated connections (respool_gateway_pinned_by), or the server is slow. Raise max_connections in its URL, and examine the server: respool doctor URL",
			},
		},
		{
			Alert: "RespoolGatewayPaused",
			Expr:  "respool_gateway_paused == 1",
			For:   "5m", Labels: alertLabels(monitor.Warn),
			Annotations: ruleTexts{
				"the gateway {{ $labels.instance }} has been paused for 5 minutes",
				"RESPOOL PAUSE or CLIENT PAUSE holds back commands. To end the pause: redis-cli -h GATEWAY RESPOOL RESUME",
			},
		},
	}
}

// gatewayCharts show gateways. They are empty without one.
func gatewayCharts() []chart {
	const name = "{{instance}}"
	rate := func(metric, what string) chartLine {
		return chartLine{"rate(" + metric + "[$__rate_interval])", name + what}
	}
	mean := func(metric, what string) chartLine {
		return chartLine{"rate(" + metric + "_sum[$__rate_interval]) / rate(" + metric + "_count[$__rate_interval])", name + what}
	}
	return []chart{
		{title: "Clients", width: 8,
			lines: []chartLine{
				{"respool_gateway_clients", name},
				{"respool_gateway_blocked_clients", name + ": blocked"},
				{"respool_gateway_subscribed_clients", name + ": subscribed"},
			}},
		{title: "Ready, and paused", about: "Ready: 1. Page at 0 for 1 m. Paused: warning at 1 for 5 m.", width: 8,
			lines: []chartLine{
				{"respool_gateway_ready", name + ": ready"},
				{"respool_gateway_paused", name + ": paused"},
			}},
		{title: "Refused and closed a second", about: "Refused: a limit of clients is reached. Slow: clients that did not read their replies.", unit: "cps", width: 8,
			lines: []chartLine{
				rate("respool_gateway_refused_total", ": refused"),
				rate("respool_gateway_slow_closed_total", ": slow"),
				rate("respool_gateway_errors_total", ": errors"),
			}},
		{title: "Mean time of a command", about: "Queue: before it is sent. Warning above 100 ms for 5 m. Server: from sending to the reply.", unit: "s", width: 8,
			lines: []chartLine{
				mean("respool_gateway_queue_seconds", ": queue"),
				mean("respool_gateway_server_seconds", ": server"),
			}},
		{title: "Commands a second", unit: "ops", width: 8,
			lines: []chartLine{rate("respool_gateway_commands_total", "")}},
		{title: "Dedicated connections by reason", width: 8, form: stacked,
			lines: []chartLine{{"respool_gateway_pinned_by", name + ": {{reason}}"}}},
	}
}
