"""ServiceMonitors, one for each namespace with LLMDeployments."""
