"""How a command ended, as the remote command protocol tells it: a Kubernetes Status on the error stream.

Protocol: https://github.com/kubernetes/kubernetes/blob/v1.36.3/staging/src/k8s.io/apimachinery/pkg/util/remotecommand/constants.go
"""

from typing import Any

Status = dict[str, Any]

SUCCESS: Status = {"metadata": {}, "status": "Success"}


def exit_status(code: int) -> Status:
    """The Status for an exit code; 128 + signal for a command that was killed."""
    if code == 0:
        return SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def internal_error(message: str) -> Status:
    """The Status for what went wrong on our side."""
    return {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}
