#!/bin/bash
# Daily LLM service health check script

echo "🔍 Daily LLM Service Health Check - $(date)"
echo "================================================"

# Check all LLM deployments
kubectl get llmdeployments -n production -o wide

# Check GPU node health
kubectl get nodes -l node-type=gpu -o custom-columns="NAME:.metadata.name,STATUS:.status.conditions[?(@.type=='Ready')].status,GPU:.status.allocatable.nvidia\.com/gpu"

# Check recent errors
echo "📊 Error rates (last 1h):"
kubectl logs -n production -l app.kubernetes.io/name=llm-deployment --since=1h | grep -i error | wc -l

# Check resource utilization
echo "💾 Resource utilization:"
kubectl top nodes -l node-type=gpu

# Check model serving latency
echo "⏱️  Average response time (last 1h):"
# This would integrate with your monitoring system
