"""AWS Lambda's interface, as boto3 and the `aws` command speak it, over `controller.access`.

What is the same thing by another name is translated; what is not there is refused and never ignored. docs/lambda.md
says what is covered.
"""
