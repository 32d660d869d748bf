"""What an installation in a cluster consists of, as bodies to apply. One source: `outrider install`, the Helm chart and
`deploy/install.yaml` are all made from it, so that they cannot drift apart.
"""
