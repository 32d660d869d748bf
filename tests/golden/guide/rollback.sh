# Quick rollback to previous model version
kubectl patch llmdeployment llama-3.1-8b -n production --type='merge' -p='
{
  "spec": {
    "model": {
      "version": "previous-stable-tag"
    }
  }
}'

# Verify rollback success
kubectl rollout status deployment/llama-3.1-8b -n production --timeout=300s
