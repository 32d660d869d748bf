#!/bin/bash
# Blue-green deployment script for model updates

NEW_VERSION="v1.3.0"
CURRENT_VERSION="v1.2.0"
NAMESPACE="production"
MODEL_NAME="llama-3.1-8b"

echo "🚀 Starting blue-green deployment: $CURRENT_VERSION → $NEW_VERSION"

# Deploy green environment
kubectl apply -f - <<EOF
apiVersion: inference.llm-d.io/v1alpha1
kind: LLMDeployment
metadata:
  name: ${MODEL_NAME}-green
  namespace: ${NAMESPACE}
spec:
  model:
    modelUri: "hf://meta-llama/Llama-3.1-8B-Instruct"
    version: "${NEW_VERSION}"
  # ... rest of config
EOF

# Wait for green deployment to be ready
kubectl wait --for=condition=Ready llmdeployment/${MODEL_NAME}-green -n ${NAMESPACE} --timeout=600s

# Run health checks on green
echo "🔍 Running health checks on green deployment..."
bash health-check.sh ${MODEL_NAME}-green ${NAMESPACE}

if [ $? -eq 0 ]; then
  echo "✅ Health checks passed. Switching traffic..."
  
  # Switch service to green
  kubectl patch service ${MODEL_NAME} -n ${NAMESPACE} --type='merge' -p='
  {
    "spec": {
      "selector": {
        "deployment": "green"
      }
    }
  }'
  
  echo "✅ Traffic switched to green deployment"
  echo "🧹 Cleaning up blue deployment in 5 minutes..."
  sleep 300
  kubectl delete llmdeployment ${MODEL_NAME}-blue -n ${NAMESPACE}
else
  echo "❌ Health checks failed. Rolling back..."
  kubectl delete llmdeployment ${MODEL_NAME}-green -n ${NAMESPACE}
  exit 1
fi
