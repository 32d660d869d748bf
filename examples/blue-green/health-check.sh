#!/bin/bash
# Ask an LLMDeployment one question, as its users will. Usage: health-check.sh NAME NAMESPACE
set -euo pipefail

url=$(kubectl get llmdeployment "$1" --namespace "$2" --output jsonpath='{.status.url}')
code=$(curl --silent --show-error --max-time 30 --output /dev/null --write-out '%{http_code}' \
  --header 'Content-Type: application/json' --data '{"prompt": "test", "max_tokens": 1}' "$url/v1/completions")
if [ "$code" != 200 ]; then
  echo "$1 does not answer at $url: HTTP $code"
  exit 1
fi
echo "$1 answers at $url"
